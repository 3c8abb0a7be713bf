"""The servers to compare: their packages, files and start commands.

All predict with the same model, a logistic regression on iris, from a DataFrame of the same columns; `echo` returns
its input. A row whose first value is negative is a slow request: the driver waits for a tenth of a second, as if for
a database.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

REPO = Path(__file__).parents[2]
KEY = "a-key-of-the-benchmark"
COLUMNS = ["sepal length", "sepal width", "petal length", "petal width"]
ROW = dict(zip(COLUMNS, [5.1, 3.5, 1.4, 0.2], strict=True))


@dataclass(frozen=True)
class Peer:
    """A server.

    Attributes:
        name: its row in the table.
        packages: packages of its environment, in addition to scikit-learn and pandas.
        files: the files of its folder, by name; `{kind}` in a command is `echo` or `predict`.
        setup: a command that creates further files, once.
        argument: the key of the rows in a request, for the given kinds; without it, the body is the rows.
        command: its start command; `{port}` and `{folder}` are filled in.
        path: the path for requests.
        kinds: the supported kinds.
    """

    name: str
    command: list[str]
    packages: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    setup: list[str] = field(default_factory=list)
    argument: dict[str, str] = field(default_factory=dict)
    path: str = "/score"
    kinds: tuple[str, ...] = ("echo", "predict")


_COMPUTE = """
import pickle, time
import pandas as pd
def compute(df):
    if df.iat[0, 0] < 0:
        time.sleep(0.1)
    return model.predict(df).tolist()
"""
_LOAD = (
    _COMPUTE
    + """
import json
with open("model.pkl", "rb") as file:
    model = pickle.load(file)
def predict(rows):
    return compute(pd.DataFrame(rows))
"""
)
_OURS_PREDICT = (
    _COMPUTE
    + """
def init():
    global model
    with open("model.pkl", "rb") as file:
        model = pickle.load(file)
def run(df):
    return compute(df)
"""
)
_BARE = """
import sys, uvicorn
{load}
async def app(scope, receive, send):
    message = await receive()
    body = message["body"]
    while message["more_body"]:
        message = await receive()
        body += message["body"]
    {work}
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({{"type": "http.response.start", "status": 200, "headers": headers}})
    await send({{"type": "http.response.body", "body": body}})
uvicorn.run(app, port=int(sys.argv[1]), access_log=False, log_level="warning", loop="uvloop", http="httptools")
"""
_LIMIT = """
import asyncio, sys, httptools, uvloop
ANSWER = b"HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\ncontent-length: 2\\r\\n\\r\\n[]"
class Constant(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.parser = transport, httptools.HttpRequestParser(self)
    def data_received(self, data):
        self.parser.feed_data(data)
    def on_message_complete(self):
        self.transport.write(ANSWER)
async def main():
    server = await asyncio.get_running_loop().create_server(Constant, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()
uvloop.run(main())
"""
_FASTAPI = """
import sys, uvicorn
from fastapi import Body, FastAPI
{load}
app = FastAPI()
@app.post("/score")
def score(rows = Body()):
    return {work}
uvicorn.run(app, port=int(sys.argv[1]), access_log=False, log_level="warning", loop="uvloop", http="httptools")
"""
_AZUREML = """
{load}
def init():
    pass
def run(body):
    return {work}
"""
_OURS_ECHO = """
def run(body):
    return body
"""
_MLFLOW_SAVE = (
    _COMPUTE
    + """
import mlflow.pyfunc
class Echo(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input
class Predict(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        global model
        with open(context.artifacts["model"], "rb") as file:
            model = pickle.load(file)
    def predict(self, context, model_input, params=None):
        return compute(model_input)
needs = ["scikit-learn", "pandas"]
mlflow.pyfunc.save_model("echo", python_model=Echo(), pip_requirements=needs)
mlflow.pyfunc.save_model("predict", python_model=Predict(), artifacts={"model": "model.pkl"}, pip_requirements=needs)
"""
)
_BENTOML = """
import bentoml
{load}
@bentoml.service(workers=1)
class Scorer:
    @bentoml.api(route="/score")
    def score(self, rows: list) -> list:
        return {work}
"""
_LITSERVE = """
import sys
import litserve
{load}
class Scorer(litserve.LitAPI):
    def setup(self, device):
        pass
    def predict(self, rows):
        return {work}
if __name__ == "__main__":
    server = litserve.LitServer(Scorer(api_path="/score"), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
"""

_SERVER = ["uvicorn", "httptools", "uvloop", "msgspec"]


def _ours(name: str, app: str, *kinds: str) -> Peer:
    """Return this runtime with a driver from a folder of this name, supervised as a local compute does it."""
    command = ["{python}", __file__, f"{{folder}}/{app}", "{port}"]
    return Peer(name, command, _SERVER, argument={"predict": "df"}, kinds=kinds or ("echo", "predict"))


PEERS = [
    _ours("mlmgmt-nb", "{kind}"),
    _ours("mlmgmt-nb, batched", "batched", "predict"),
    _ours("mlmgmt-nb, 4 threads", "threaded", "predict"),
    Peer("constant answer", ["{python}", "limit.py", "{port}"], _SERVER, {"limit.py": _LIMIT}, kinds=("echo",)),
    Peer(
        "uvicorn, driver on the loop",
        ["{python}", "{kind}.py", "{port}"],
        _SERVER,
        {
            "echo.py": _BARE.format(load="", work="pass"),
            "predict.py": _BARE.format(load=_LOAD, work="body = json.dumps(predict(json.loads(body))).encode()"),
        },
    ),
    Peer(
        "FastAPI",
        ["{python}", "{kind}.py", "{port}"],
        ["fastapi", *_SERVER],
        {
            "echo.py": _FASTAPI.format(load="", work="rows"),
            "predict.py": _FASTAPI.format(load=_LOAD, work="predict(rows)"),
        },
    ),
    Peer(
        "azureml-inference-server-http",
        [
            "{python}",
            "-m",
            "azureml_inference_server_http.amlserver",
            "--entry_script",
            "{kind}.py",
            "--port",
            "{port}",
        ],
        ["azureml-inference-server-http"],
        {
            "echo.py": _AZUREML.format(load="", work="body"),
            "predict.py": _AZUREML.format(load=_LOAD, work="predict(json.loads(body))"),
        },
    ),
    Peer(
        "LitServe",
        ["{python}", "{kind}.py", "{port}"],
        ["litserve"],
        {
            "echo.py": _LITSERVE.format(load="", work="rows"),
            "predict.py": _LITSERVE.format(load=_LOAD, work="predict(rows)"),
        },
    ),
    Peer(
        "BentoML",
        ["{python}", "-m", "bentoml", "serve", "{kind}:Scorer", "--host", "127.0.0.1", "--port", "{port}"],
        ["bentoml"],
        {
            "echo.py": _BENTOML.format(load="", work="rows"),
            "predict.py": _BENTOML.format(load=_LOAD, work="predict(rows)"),
        },
        argument={"echo": "rows", "predict": "rows"},
    ),
    Peer(
        "mlflow models serve",
        [
            *("{python}", "-m", "mlflow", "models", "serve", "-m", "{kind}", "--env-manager", "local"),
            *("--workers", "1", "--host", "127.0.0.1", "--port", "{port}"),
        ],
        ["mlflow"],
        {"save.py": _MLFLOW_SAVE},
        setup=["{python}", "save.py"],
        argument={"echo": "dataframe_records", "predict": "dataframe_records"},
        path="/invocations",
    ),
]


def prepare(folder: Path) -> None:
    """Put the model, our drivers and all files of the peers into a folder."""
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    from mlmgmt_nb.scoring.schema import DataTypes, SampleDefinition, generate_schema

    data = load_iris(as_frame=True)
    frame = data.data.set_axis(COLUMNS, axis=1)
    model = LogisticRegression(max_iter=1000).fit(frame, data.target)
    batched = "from mlmgmt_nb.scoring.batching import batched\n" + _OURS_PREDICT.replace(
        "def run", "@batched()\ndef run"
    )
    threaded = "from mlmgmt_nb.scoring.threads import threaded\n" + _OURS_PREDICT.replace(
        "def run", "@threaded(4)\ndef run"
    )
    drivers = {"predict": _OURS_PREDICT, "batched": batched, "threaded": threaded, "echo": _OURS_ECHO}
    for name, driver in drivers.items():
        (folder / name).mkdir()
        (folder / name / "score.py").write_text(driver)
        (folder / name / "model.pkl").write_bytes(pickle.dumps(model))
        if name != "echo":
            sample = {"df": SampleDefinition(DataTypes.PANDAS, frame.head(1))}
            generate_schema(lambda df: df, sample, filepath=folder / name / "service_schema.json")
    (folder / "model.pkl").write_bytes(pickle.dumps(model))
    for number, peer in enumerate(PEERS):
        own = folder / f"peer-{number}"
        own.mkdir()
        (own / "model.pkl").write_bytes(pickle.dumps(model))
        for name, text in peer.files.items():
            (own / name).write_text(text)


def body_of(peer: Peer, kind: str, rows: int, *, slow: bool = False) -> bytes:
    """Return the request's body."""
    records = [{**ROW, COLUMNS[0]: -1.0} if slow else ROW] * rows
    return json.dumps({peer.argument[kind]: records} if kind in peer.argument else records).encode()


def supervise(app: str, port: int) -> None:
    """Run one replica as the local compute does: an inherited socket, keys, a limit."""
    listener = socket.create_server(("127.0.0.1", port), backlog=2048)
    ours, theirs = socket.socketpair()
    fds = (listener.fileno(), theirs.fileno())
    command = [
        sys.executable,
        "-m",
        "mlmgmt_nb.scoring",
        "--app",
        app,
        "--fd",
        str(fds[0]),
        "--control-fd",
        str(fds[1]),
    ]
    process = subprocess.Popen(command, pass_fds=fds)
    theirs.close()
    keys = [hashlib.sha256(key.encode()).hexdigest() for key in (KEY, "another key")]
    ours.sendall(json.dumps({"type": "start", "name": "iris", "keys": keys, "concurrency": 16}).encode() + b"\n")
    while ours.recv(65536):
        pass
    process.wait()


if __name__ == "__main__":
    supervise(sys.argv[1], int(sys.argv[2]))
