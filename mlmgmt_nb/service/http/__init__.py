"""The vocabulary of HTTP handlers: requests, responses, and the errors that become an `ErrorResponse`."""
