"""Requests are answered as by `azureml-inference-server-http`, but for the differences in `differences.toml`."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.originals.answer_rows import PAGE, Group, Sent, groups
from tests.integration.originals.differences import check
from tests.integration.scoring.conftest import Replica, listen
from tests.support.waiting import eventually

SIDE = Path(__file__).with_name("answer_side.py")
HEADERS = [
    *("content-type", "allow", "x-request-id", "x-ms-request-id", "x-ms-client-request-id", "x-ms-run-function-failed"),
    *("x-ms-run-fn-exec-ms", "traceid", "set-cookie", "x-a", "location", "retry-after"),
]
PAGE_HEADERS = ["access-control-allow-origin", "access-control-allow-methods", "access-control-allow-headers", "vary"]
"""Headers that matter to pages of other origins, and that only requests of such pages are compared by."""
NEW_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
Ports = dict[str, int]
Outcome = dict[str, Any]


def test_requests_are_answered_alike(original_python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AML_CORS_ORIGINS", f"https://other.example.org, {PAGE}")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    table = groups()
    folders = {name: write(tmp_path / name.replace(" ", "-"), group) for name, group in table.items()}
    with originals(original_python, folders, tmp_path / "originals.log") as theirs, replicas(folders) as ours:
        pairs = {row: (theirs_found, ours_found) for row, theirs_found, ours_found in both(table, theirs, ours)}
    assert len(pairs) > 260
    problems = check("answers", *({row: pair[side] for row, pair in pairs.items()} for side in (0, 1)))
    assert not problems, "\n".join(problems)


def write(folder: Path, group: Group) -> Path:
    """Write the folder of a driver."""
    folder.mkdir()
    for name, text in {**group.files, "score.py": group.source}.items():
        (folder / name).write_text(text)
    return folder


@contextmanager
def originals(python: Path, folders: Mapping[str, Path], log: Path) -> Iterator[Ports]:
    """Run the original server for each folder."""
    with ExitStack() as stack:
        sockets = {name: stack.enter_context(listen()) for name in folders}
        fds = [each.fileno() for each in sockets.values()]
        arguments = [f"{sockets[name].fileno()}={folder}" for name, folder in folders.items()]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [str(python), str(SIDE), *arguments],
                pass_fds=fds,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        stack.callback(end, process)
        ports = {name: each.getsockname()[1] for name, each in sockets.items()}
        for port in ports.values():
            eventually(lambda port=port: answers(port, process, log))  # type: ignore[misc]
        yield ports


def end(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def answers(port: int, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    try:
        return bool(answer(port, Sent("/"))["status"] == 200)
    except (OSError, http.client.HTTPException):
        return False


@contextmanager
def replicas(folders: Mapping[str, Path]) -> Iterator[Ports]:
    """Run our runtime for each folder."""
    with ExitStack() as stack:
        started = {name: Replica(folder, folder / "log") for name, folder in folders.items()}
        for replica in started.values():
            stack.callback(replica.close)
        yield {name: replica.ready().listener.getsockname()[1] for name, replica in started.items()}


def both(table: Mapping[str, Group], theirs: Ports, ours: Ports) -> Iterator[tuple[str, Outcome, Outcome]]:
    """Yield the outcomes of each row. Responses of different status are different as a whole: only that is compared."""
    for name, group in table.items():
        for row, sent in group.rows.items():
            pair = [answer(ports[name], sent) for ports in (theirs, ours)]
            if pair[0]["status"] != pair[1]["status"]:
                pair = [{"status": outcome["status"]} for outcome in pair]
            yield f"{name}: {row}", pair[0], pair[1]


def answer(port: int, sent: Sent) -> Outcome:
    """Send a request; return the aspects of its response that are compared."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(sent.verb, sent.target, sent.body, dict(sent.headers))
        response = connection.getresponse()
        content = response.read()
    except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
        return {"status": type(error).__name__}
    finally:
        connection.close()
    compared = [*HEADERS, *(PAGE_HEADERS if "Origin" in sent.headers else [])]
    headers = {f"header {name}": found for name in compared if (found := response.headers.get(name)) is not None}
    return {"status": response.status, **comparable(headers), **read(response, content)}


def comparable(headers: Mapping[str, str]) -> dict[str, str]:
    """Replace what differs from one response to the next."""
    changed = {name: NEW_ID.sub("(new)", value) for name, value in headers.items()}
    if "header x-ms-run-fn-exec-ms" in changed:
        changed["header x-ms-run-fn-exec-ms"] = str(float(changed["header x-ms-run-fn-exec-ms"]) >= 0)
    return changed


def read(response: http.client.HTTPResponse, content: bytes) -> Outcome:
    """Return the body; for an error with a message, the message."""
    try:
        body = json.loads(content)
    except ValueError:
        return {"body": content.decode("utf-8", "replace")}
    if response.status >= 400 and isinstance(body, dict) and isinstance(body.get("message"), str):
        return {"message": body["message"]}
    return {"body": body}
