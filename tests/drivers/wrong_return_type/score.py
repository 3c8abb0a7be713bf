import threading


def run(body):
    return {
        "function": run,
        "iterator": iter([1, 2]),
        "in a list": [1, threading.Lock()],
        "exception": ValueError("x"),
        "type": dict,
    }[body]
