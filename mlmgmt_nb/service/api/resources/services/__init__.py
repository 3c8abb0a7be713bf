"""Services: requested here, realized by the supervisor.

candidates   propose, get, discard and promote candidates; start and stop canaries and mirrors
requests     create, update, roll back and delete
queries      list and get: the responses of the API from the rows
keys         read and regenerate the keys
recordings   read and remove recorded requests
monitoring   logs and metrics
rows         services with their current deployment, image and manifest
"""
