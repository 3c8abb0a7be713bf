"""Images without a Docker engine: a base image, layers on top of it, and their transfer from and to registries."""
