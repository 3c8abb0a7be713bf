"""The workspace: one account of the Model Management API, and how to connect to it."""
