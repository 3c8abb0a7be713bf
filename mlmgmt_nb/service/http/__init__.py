"""The types that HTTP handlers use: requests, responses, and the errors that become an `ErrorResponse`."""
