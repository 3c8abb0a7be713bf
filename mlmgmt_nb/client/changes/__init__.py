"""Changes of services: the differences between two images, deployments or sources, and their consequences."""
