"""The Model Management API over HTTP: the app, pages, connections, and one module for each resource."""
