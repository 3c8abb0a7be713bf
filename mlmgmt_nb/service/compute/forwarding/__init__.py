"""Connections of services, forwarded to replicas that cannot receive the listening socket itself.

forwarder  to one replica of an engine on another kernel
relay      to the pods of clusters
answered   connections on which a replica has answered
"""
