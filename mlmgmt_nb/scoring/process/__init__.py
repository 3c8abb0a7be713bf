"""One replica as a process: standalone, supervised, or in a container.

replica       control channel, server, drain
control       messages of the control channel
workers       several standalone processes
orchestration the means of an orchestrator instead of the control channel
keys_file     keys in a mounted file
stats_server  the counters, on a port of their own
failure_file  the reason why a driver does not load, in a file
container     the control channel and listener in a container
forking       keep forked children of a driver apart from the replica
"""
