async_not_needed = True


def run(body):
    return __name__
