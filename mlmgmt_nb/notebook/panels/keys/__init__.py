"""The keys of a service, on the screen and in no file."""
