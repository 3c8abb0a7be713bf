def init():
    pass


def run(http_body):
    return http_body
