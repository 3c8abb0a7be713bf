"""The console of a service."""
