"""Reconcile services with their desired state: the pure steps, the loop, autoscaling, capacity, metrics."""
