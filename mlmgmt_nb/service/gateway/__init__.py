"""The front door: forwards requests for services from the port of the API to their own ports."""
