class Odd(Exception):
    def __str__(self):
        raise RuntimeError("no text")


def run(body):
    if body == "exit":
        raise SystemExit(4)
    if body == "recursion":
        return run(body)
    if body == "odd":
        raise Odd
    if body == "interrupt":
        raise KeyboardInterrupt
    if body == "lines":
        raise ValueError("first\nsecond")
    return 1 / 0
