"""The embedded Model Management service: the API over HTTP, its store, the image builder and the computes.

Each layer imports only layers below it:

    server         listen, answer, stop
    api/           the API over HTTP, one module for each kind of resource
    backend        the components of a service, assembled
    reconciling/   make what runs match what should run
    compute/       where replicas run: local processes, containers; housekeeping/: check, back up, remove
    building/      images; cluster/: several processes on one database; gateway/: one port for all services
    store/         the SQL store; settings
    access/        who may do what; files/: artifacts, logs, collected data
    http/          the vocabulary of handlers; system/: processes and sockets; clock; ids of computes; the Docker engine
"""
