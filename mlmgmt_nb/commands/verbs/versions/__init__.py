"""Commands for resources with versions: models, manifests and images."""
