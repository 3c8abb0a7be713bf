"""Calls of a driver: admission, the driver's thread, latencies.

admission     which requests wait, which run, which are refused
runner        the driver's thread
call          one call of `run`
batcher       several requests in one call
latency       how long calls take
loop_lending  the driver's thread borrows the event loop for brief calls
"""
