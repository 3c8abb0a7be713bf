"""Make what runs match what should run: the pure step, the loop around it, autoscaling, capacity, metrics."""
