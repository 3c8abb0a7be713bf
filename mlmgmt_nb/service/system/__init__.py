"""The machine: processes, sockets, addresses, the service's own log file."""
