"""Commands: what has versions, that is models, manifests and images."""
