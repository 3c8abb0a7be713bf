"""The machine: processes, sockets, and the service's own log file."""
