"""Who may call: hosts and origins of requests, pages of other origins (CORS), keys."""
