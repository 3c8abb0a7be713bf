"""Requests to a cluster.

connection    kubeconfig or service account -> requests; errors in words for the user
library       import of the official client
free_room     free capacity of the nodes, if we may see them
objects_api   apply, list, scale and delete our objects
readiness     check what a cluster needs: address, credentials, permissions, registry
"""
