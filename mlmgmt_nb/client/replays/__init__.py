"""Replays: the same requests to two services, and a paired comparison of their answers, latencies and memory."""
