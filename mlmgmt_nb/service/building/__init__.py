"""Image builds: fetching, unpacking, the build context, environments, and the workers that run the steps."""
