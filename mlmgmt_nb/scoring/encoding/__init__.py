"""One encoder for results, samples and what a client sends: any value as JSON, or a refusal with its path."""
