"""Connections that the front door hands over, so that their requests cost as little as at the port of the service.

The front door, which answers for all services at the port of the API, reads the head of a request. If it is plain, it
passes the socket of the connection and the bytes that it has read to a replica of the service. A request for something
else that arrives on the connection later goes back the same way, with its connection.

heads        which requests the replica may answer instead of the front door
channel      connections as messages: the bytes that were read, and the descriptor of the socket
connection   the connection in the replica
listener     takes connections from the front door, and gives them back

See `.docs/explanation/decisions/handed-connections.md`.
"""
