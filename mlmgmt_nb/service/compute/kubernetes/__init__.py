"""Compute `kubernetes`: services as Deployments that the cluster keeps.

A service is a Secret (digests of its keys, secret variables), a Service, a Deployment and a PodDisruptionBudget. They
are written by server-side apply with our field manager, so that fields of others stay, and they carry labels with the
ids of the service and of the state folder: objects without these labels are never touched. Pods read keys from the
mounted Secret, so new keys need no restart; secret variables are stored by deployment, so a rollback has the old ones.

A thread for each cluster talks to it, so that a slow or absent cluster holds up nothing else: it applies the last
declaration of each service, lists our objects, and derives observations. Its requests have time limits.

objects       the objects of a declaration (pure)
naming        names, labels and annotations (pure)
observation   lists of objects -> observed services (pure)
causes        pods, conditions and events -> the cause in one sentence (pure)
room          what nodes have left (pure)
connection    kubeconfig or service account -> requests; errors in words for the user
objects_api   apply, list and delete our objects
readiness     what a cluster lacks: address, credentials, permissions, registry
logs          the logs of all pods of a service
reach         how requests get to pods: cluster address, node port, or port-forward
directions    from the ports of services here to their pods
cluster       the compute: the thread, and what it was told
clusters      all clusters of the settings file, which may change
"""
