"""Calls of a driver: admission, the driver's thread.

admission  admit, refuse, time out and count requests
runner     the driver's thread
call       one call of `run`
batcher    several requests in one call
"""
