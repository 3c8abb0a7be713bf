"""Images on a Docker engine: the Dockerfile, the build, the images that exist."""
