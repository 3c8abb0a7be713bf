"""This service as a workload of a cluster.

manifests    the objects for `kubectl apply`
own_image    an image of the service, built without an engine
"""
