import threading


def run(body):
    return {
        "function": run,
        "generator": (n for n in range(3)),
        "in a list": [1, threading.Lock()],
        "exception": ValueError("x"),
        "type": dict,
    }[body]
