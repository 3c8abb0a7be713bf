"""This service as a workload of a cluster, and not only as its client.

manifests    the objects that `kubectl apply` takes
own_image    an image of the service, built without an engine
"""
