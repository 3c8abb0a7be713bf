"""Images on a Docker engine: the Dockerfile, the build, and existing images."""
