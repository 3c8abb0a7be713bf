"""Services: requested here, realized by the supervisor.

candidates   propose, get, discard and promote candidates
requests     create, update and delete
queries      list and get: the responses of the API from the rows
keys         read and regenerate the keys
recordings   read and remove recorded requests
monitoring   logs and metrics
rows         services with their current deployment, image and manifest
"""
