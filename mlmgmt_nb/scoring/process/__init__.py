"""One replica as a process: standalone, supervised, or in a container.

replica       control channel, server, drain
control       messages of the control channel
workers       several standalone processes
container     the control channel and listener in a container
forking       keep forked children of a driver apart from the replica
"""
