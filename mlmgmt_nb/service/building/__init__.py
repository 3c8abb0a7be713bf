"""Building images: fetching, unpacking, the build context, environments, and the worker that does it in order."""
