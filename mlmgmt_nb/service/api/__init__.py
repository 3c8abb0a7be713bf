"""The Model Management API over HTTP: the app, paging, connections, and one module for each resource."""
