"""Recording of requests and answers: a bounded ring of files for replays, redacted before anything is written."""
