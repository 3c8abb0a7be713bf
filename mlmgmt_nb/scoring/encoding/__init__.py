"""One encoder for results, samples and requests of the client: any value as JSON, or an error with its path."""
