"""The deploy form."""
