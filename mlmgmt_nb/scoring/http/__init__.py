"""The HTTP front end of a replica.

server        uvicorn on our socket, with a drain that loses no request
connection    uvicorn's connection; detects callers that hang up or are too slow
protocol      the HTTP/1.1 dialect that every listener of mlmgmt-nb accepts
access/       who may call: `Host` and `Origin`, pages of other origins (CORS), keys
framing       rules for heads: one length, one target
request       the parsed head of a request; `request_ids` for its id
body          read bodies; `decoding` for encodings and charsets; `query` for GET
app           paths, limits and endpoints (bare ASGI)
responses     write answers and errors; `recording` also records requests
request_log   one line of JSON for each request
"""
