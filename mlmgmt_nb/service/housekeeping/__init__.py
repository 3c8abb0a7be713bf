"""Keeping a state folder in order: what nothing uses, what has been kept for long enough, backups."""
