"""The application of a service: the driver with its files and packages."""
