"""One replica as a process: standalone, supervised, or in a container.

replica       load a driver and serve it until the drain; `lifetime` for the end of the process
control       messages of the control channel
workers       several standalone processes
orchestration files and a port of an orchestrator, instead of the control channel
keys_file     keys in a mounted file
stats_server  the counters, on a port of their own
failure_file  the reason why a driver does not load, in a file
container     the control channel and listener in a container
forking       keep forked children of a driver apart from the replica
"""
