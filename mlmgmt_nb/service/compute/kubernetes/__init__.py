"""Compute `kubernetes`: services as Deployments that the cluster maintains.

A service is a Secret (digests of its keys, secret variables), a Service, a Deployment and a PodDisruptionBudget. They
are written by server-side apply with our field manager, so that fields of others stay, and they carry labels with the
ids of the service and of the state folder: objects without these labels are never touched. Pods read keys from the
mounted Secret, so new keys need no restart; secret variables are stored by deployment, so a rollback has the old ones.

A thread for each cluster talks to it, so that a slow or absent cluster holds up nothing else: it applies the last
declaration of each service, lists our objects, and derives observations. Its requests have time limits.

declaring/   from declarations to objects, as data
api/         requests to a cluster, and checks that it can run services
observing/   states, causes, logs and load of our services, from a cluster
reaching/    how requests reach pods
applying     instructions of the supervisor, and how they are applied
cluster      the compute: its thread
clusters     all clusters of the settings file, which may change
"""
