"""The fast path of `/score`: less work for each request, behind one wall and one switch.

Most scoring requests are small, arrive whole, and have a driver that answers within microseconds. For these, the
machinery around the driver costs more than the driver. The fast path leaves out three parts of it:

connection    parsing: the parsed heads of earlier requests are cached, since callers repeat them
app           tasks and ASGI: a whole request is submitted, and its plain answer written, from callbacks of the loop
runner        the hand-over between threads: the driver's thread borrows the event loop, see `loop_lending`

`path` has the switch: `SCORING_FAST_PATH=0` in the environment of a replica turns all of it off. Then requests go
through uvicorn, ASGI and a queue as in any other server, with the same answers. Nothing outside of this package depends
on it; only `process` chooses. The fast path uses private parts of uvicorn, so `pyproject.toml` bounds the version at
both ends, both ends are tested, and with an older uvicorn, which a user's interpreter may have, the path is off.

The figures are in the documentation: `.docs/explanation/decisions/fast-path.md`.
"""
