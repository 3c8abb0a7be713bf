"""The application folder: the driver and its schema, the models, the environment variables."""
