import no_such_package_anywhere


def run(body):
    return body
