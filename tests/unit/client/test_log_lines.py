"""Lines of the log of a service for people."""

from __future__ import annotations

from mlmgmt_nb.client.monitoring.log_lines import readable, readable_log

NOTE = (
    '{"time":"2026-11-25T07:26:32.708Z","request":"79148de2","method":"%s","path":"/api/v1/service/iris/%s",'
    '"status":%d,"ms":11.306,"bytesIn":19,"bytesOut":19%s}'
)


def test_notes_of_requests_are_put_for_people() -> None:
    assert readable(NOTE % ("POST", "score", 200, "")) == "07:26:32.708  200      11.3 ms  79148de2"
    shown = readable(NOTE % ("GET", "swagger.json", 401, ',"code":"Unauthorized","message":"a key is needed"'))
    assert shown.endswith("79148de2 GET /swagger.json  Unauthorized: a key is needed")
    for line in ("[mlmgmt] deployed", '{"mine": 1}', '{"time": 3}', "{", ""):
        assert readable(line) == line


def test_a_log_keeps_its_other_lines_and_ends_as_it_did() -> None:
    note = NOTE % ("POST", "score", 200, "")
    assert readable_log(f"[mlmgmt] deployed\r\n{note}\n\nhalf") == f"[mlmgmt] deployed\r\n{readable(note)}\n\nhalf"
    assert readable_log("") == ""
