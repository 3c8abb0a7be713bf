import time


def run(body):
    time.sleep(float(body))
    return "done"
