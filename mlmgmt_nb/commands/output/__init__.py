"""Results of commands as text: tables for people, JSON, TSV and CSV for programs."""
