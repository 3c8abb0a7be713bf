"""The HTTP front end of a replica.

server        uvicorn on our socket, with a drain that loses no request
connection    uvicorn's connection without tasks; detects callers that hang up or are too slow
protocol      the HTTP/1.1 dialect that every listener of mlmgmt-nb accepts
hosts         check `Host` and `Origin`; `cors` for pages of other origins
keys          check the keys of the service
request       the parsed head of a request; `request_ids` for its id
body          read bodies; `decoding` for encodings and charsets; `query` for GET
app           paths, limits and endpoints (bare ASGI)
responses     write answers and errors
request_log   one line of JSON for each request
"""
