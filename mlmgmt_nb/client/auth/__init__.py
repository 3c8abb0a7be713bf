"""Sign in to other servers of the API, and show the identity that a server sees."""
