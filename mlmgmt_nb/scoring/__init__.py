"""The scoring runtime: what runs inside an image and answers `/score`.

`python -m mlmgmt_nb.scoring --app FOLDER` loads the driver (`score.py`) of a folder and serves it. The package ships
into images as files, beside nothing of ours but `mlmgmt_nb/__init__.py`, so it imports nothing else of mlmgmt-nb;
uvicorn and msgspec are all that it needs, NumPy and pandas are imported only when a driver, schema or result asks for
them.

    __main__     arguments; by hand or supervised
    process/     one process: control channel, drain, workers, container
    telemetry    traces and logs for Application Insights
    http/        uvicorn on a socket of ours; heads, bodies, hosts, answers
    calls/       which calls wait and run; the thread of the driver; batches; loop lending
    driver/      load the driver, bind requests to `run`; what it prints; streams
    batching     several requests in one call of `run`: the decorator
    compat/      imports of 2017 to 2024: `azureml.*`, `inference_schema`, raw HTTP
    collection/  data collection
    schema/      types of the arguments of `run`; schema files of 2017; the description of the service
    encoding/    values as JSON, for results, samples and the client
    application/ the application folder: driver, models, environment variables
    context      the id of the request that is being answered
    threads      several calls of `run` at a time: the decorator
    errors       what can go wrong, and the HTTP answer for it
"""
