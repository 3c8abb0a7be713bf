"""Maintenance of a state folder: garbage collection, expiry of operations, checks, backups."""
