"""Drift of collected inputs: how far they are from the training sample."""
