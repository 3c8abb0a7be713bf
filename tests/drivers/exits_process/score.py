import os


def run(body):
    if body == "leave":
        os._exit(7)
    return "here"
