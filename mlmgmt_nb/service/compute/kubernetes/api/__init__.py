"""Requests to a cluster.

connection    kubeconfig or service account -> requests; errors in words for the user
library       import of the official client
objects_api   apply, list, scale and delete our objects
readiness     what a cluster lacks: address, credentials, permissions, registry
"""
