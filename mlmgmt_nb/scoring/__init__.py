"""The scoring runtime, which runs inside an image and answers `/score`.

`python -m mlmgmt_nb.scoring --app FOLDER` loads the driver (`score.py`) of a folder and serves it. An image contains
this package and `mlmgmt_nb/__init__.py` only, so it imports nothing else of mlmgmt-nb. It needs only uvicorn and
msgspec; NumPy and pandas are imported only if a driver, schema or result uses them.

    __main__     arguments; by hand or supervised
    process/     one process: control channel, drain, workers, container
    telemetry    traces and logs for Application Insights
    http/        uvicorn on our socket; heads, bodies, hosts, keys, responses
    fast_path/   less work for plain requests: direct answers, cached heads, loop lending; can be switched off
    handover/    connections that the front door of the service hands over
    calls/       admission, the thread of the driver, batches
    driver/      load the driver, call `run`; its output; streams
    batching     several requests in one call of `run`: the decorator
    compat/      imports of 2017 to 2024: `azureml.*`, `inference_schema`, raw HTTP
    collection/  data collection
    recording/   recorded requests and answers, for replays
    schema/      types of the arguments of `run`; schema files of 2017; the description of the service
    encoding/    values as JSON, for results, samples and the client
    application/ the application folder: driver, models, environment variables
    distribution the files and packages of the runtime, for images
    histogram    the histogram of latencies
    context      the id of the current request
    threads      several simultaneous calls of `run`: the decorator
    errors       errors and their HTTP answers
"""
