# mypy: ignore-errors
"""Run the command-line client of 2017 as it was published, on the Python of its time. Azure is replaced at the HTTP
boundary: requests for its storage and its resource manager go to `MLMGMT_TEST_AZURE`.
"""

import os
import re
import sys
import time

import requests

AZURE = os.environ["MLMGMT_TEST_AZURE"]
HOSTS = re.compile(r"https?://([a-z0-9]+\.blob\.core\.windows\.net|management\.azure\.com)")
send = requests.Session.send
sleep = time.sleep


def send_elsewhere(session, request, **options):
    """Send a request for Azure to the test's server; URLs of its storage in a body name that server too."""
    request.url = HOSTS.sub(AZURE + r"/\1", request.url)
    if request.body and "json" in request.headers.get("Content-Type", ""):
        text = request.body if isinstance(request.body, str) else request.body.decode()
        request.body = HOSTS.sub(AZURE + r"/\1", text).encode()
        request.headers["Content-Length"] = str(len(request.body))
    return send(session, request, **options)


requests.Session.send = send_elsewhere
time.sleep = lambda seconds: sleep(seconds / 10)  # it polls every 5 seconds

from azure.cli.core._output import OutputProducer  # noqa: E402
from azure.cli.core._session import ACCOUNT, CONFIG, SESSION  # noqa: E402
from azure.cli.core.application import APPLICATION, Configuration  # noqa: E402
from azure.cli.core.util import CLIError  # noqa: E402

folder = os.environ["AZURE_CONFIG_DIR"]
ACCOUNT.load(os.path.join(folder, "azureProfile.json"))
CONFIG.load(os.path.join(folder, "az.json"))
SESSION.load(os.path.join(folder, "az.sess"), max_age=3600)
APPLICATION.initialize(Configuration())
try:
    result = APPLICATION.execute(sys.argv[1:])
except CLIError as error:
    sys.exit(str(error))
if result and result.result is not None:
    OutputProducer(OutputProducer.get_formatter("json"), sys.stdout).out(result)
