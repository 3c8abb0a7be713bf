"""The embedded Model Management service: the API over HTTP, its store, the image builder and the computes."""
