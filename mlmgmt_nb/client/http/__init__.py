"""HTTP for the client: requests with retries and timeouts, credentials, pages, uploads, errors from responses."""
