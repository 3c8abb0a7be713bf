# mypy: ignore-errors
"""Serve drivers with `azureml-inference-server-http` as published: gunicorn and one worker for each, on loopback.

The arguments are `FD=FOLDER`: a listening socket, and the folder of a driver.
"""

from __future__ import annotations

import os
import sys

# what takes seconds to import, once for all of them; its own modules read the environment when they are imported
import azure.monitor.opentelemetry.exporter  # noqa: F401
import flask  # noqa: F401
import flask_cors  # noqa: F401
import gunicorn.app.wsgiapp
import inference_schema.schema_util  # noqa: F401
import pandas  # noqa: F401
import pydantic_settings  # noqa: F401


def serve(fd: str, folder: str) -> None:
    """Run the server for a driver, as its command `azmlinfsrv` does but for the address."""
    os.chdir(folder)
    os.environ.update(AML_APP_ROOT=folder, AZUREML_ENTRY_SCRIPT=f"{folder}/score.py", AML_APP_INSIGHTS_ENABLED="false")
    sys.argv = ["gunicorn", "-b", f"fd://{fd}", "--no-control-socket", "--error-logfile", "-"]
    sys.argv.append("azureml_inference_server_http.server.entry:app")
    gunicorn.app.wsgiapp.WSGIApplication("%(prog)s [OPTIONS] [APP_MODULE]").run()


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        if not os.fork():
            serve(*argument.split("=", 1))
    sys.exit(f"a server ended: {os.wait()}")
