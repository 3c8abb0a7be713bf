"""From declarations to objects of Kubernetes, as data.

objects     the objects of a declaration
exposing    types of Services, Ingresses, and the URLs that come from them
pod_fields  fields that operators add to pods
restricted  security contexts of pods
versions    API versions of our kinds
naming      names, labels and annotations
"""
