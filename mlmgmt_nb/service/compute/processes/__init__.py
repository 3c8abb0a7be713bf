"""Replicas as processes of this machine: how they are started, from a spare or cold, and how they are watched."""
