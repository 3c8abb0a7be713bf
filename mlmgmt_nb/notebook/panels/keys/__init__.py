"""The keys of a service, shown but not saved."""
