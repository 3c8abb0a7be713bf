"""The embedded Model Management service: the API over HTTP, its store, the image builder and the computes.

Each layer imports only layers below it:

    start          prepare a replica, import the rest
    server         listen, respond, stop
    api/           the API over HTTP, one module for each kind of resource
    backend        the components of a service, assembled
    reconciling/   make the actual state of services match the desired state; in_cluster/: the service as a workload
    compute/       where replicas run: processes, containers, clusters; housekeeping/: check, back up, remove
    building/      images; coordination/: several processes on one database; gateway/: one port for all services
    store/         the SQL store; settings
    access/        authentication and authorization; files/: artifacts, logs, collected data
    cluster_settings
    http/          the types of HTTP handlers; system/: processes and sockets; clock; ids of computes; the Docker engine
"""
