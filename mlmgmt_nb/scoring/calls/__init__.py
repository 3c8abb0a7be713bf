"""Calls of a driver: admission, the driver's thread, latencies.

admission  admit, refuse, time out and count requests
runner     the driver's thread
call       one call of `run`
batcher    several requests in one call
latency    the histogram of latencies
"""
