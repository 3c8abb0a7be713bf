def answer():
    return 42


def run(body):
    return "not the driver"
