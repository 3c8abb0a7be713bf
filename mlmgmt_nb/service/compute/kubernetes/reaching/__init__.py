"""How requests reach pods.

reach       by a cluster address, a node port, or a port-forward
nodes       the address of a node that responds
directions  from the ports of services here to their pods
"""
