"""The state of our services in a cluster.

observation  lists of objects -> observed services (pure)
waiting      pods and events -> the stages of their start (pure)
causes       pods, conditions and events -> the cause in one sentence (pure)
room         the free capacity of nodes (pure)
events       events of the cluster -> lines of logs (pure)
log_lines    the log of a container, read in parts
logs         the logs of all pods of a service
pod_stats    the load and the counters of pods
"""
