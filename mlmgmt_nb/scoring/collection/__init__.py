"""Data collection: the collector for drivers, its buffered writer, and the storages behind it."""
