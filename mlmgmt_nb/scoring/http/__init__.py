"""The HTTP front of a replica.

server        uvicorn on a socket of ours, with a drain that loses no request
connection    uvicorn's connection without tasks; notices callers that hang up or are too slow
protocol      what every listener of mlmgmt-nb accepts as HTTP/1.1
hosts         the check of `Host` and `Origin`; `cors` for pages of other origins
body          bodies of requests; `decoding` for encodings and charsets; `query` for GET
app           paths, keys, limits, answers (bare ASGI)
request       the parsed head of a request
request_log   one line of JSON for each request
"""
