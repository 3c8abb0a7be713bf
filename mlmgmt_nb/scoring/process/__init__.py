"""One replica as a process: by hand, supervised, or in a container.

replica       control channel, server, drain
control       messages of the control channel
workers       several processes, started by hand
container     the same in a container
"""
