"""The scoring runtime: what runs inside an image and answers `/score`.

`python -m mlmgmt_nb.scoring --app FOLDER` loads the driver (`score.py`) of a folder and serves it. The package ships
into images as files, beside nothing of ours but `mlmgmt_nb/__init__.py`, so it imports nothing else of mlmgmt-nb;
uvicorn and msgspec are all that it needs, NumPy and pandas are imported only when a driver, schema or result asks for
them.

    __main__      arguments; by hand or supervised
    replica       one process: control channel, server, drain
    control       the control channel's messages
    workers       by hand with several processes
    server        uvicorn on a socket of ours, with a drain that loses no request
    protocol      uvicorn's protocol, which ignores offers to upgrade
    connection    a connection, without tasks; notices callers that have gone or are too slow
    app           HTTP: paths, keys, limits, answers (bare ASGI)
    request       what matters of a request's head
    hosts         which `Host` and `Origin` a port answers to
    body          reads bodies within bounds of size, time and memory
    decoding      content codings and charsets of bodies
    engine        the driver's thread, its queue and its counters
    batching      several requests in one call of `run`
    threads       several calls of `run` at a time
    application   which files of the folder are the driver and its schema
    driver        loads the driver, binds requests to `run`
    arguments     the arguments of `run` from a body
    results       values as JSON: results, samples, and what a client sends (`to_builtins`: any value as builtins)
    schema        types of `run`'s arguments; reads and writes the schema files of 2017
    swagger       the service's own description
    output        what drivers print and log, with the request's id
    request_log   one line of JSON a request
    telemetry     traces and logs for Application Insights
    collector     data collection (`collecting`: its buffer; `storages`: where it goes)
    compat        imports of 2017: `azureml.api`, `azureml.datacollector`, `inference_schema`, raw HTTP
    errors        what can go wrong, and the HTTP answer for it
"""
