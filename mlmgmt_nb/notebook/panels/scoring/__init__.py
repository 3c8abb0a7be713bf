"""The form for trying a service."""
