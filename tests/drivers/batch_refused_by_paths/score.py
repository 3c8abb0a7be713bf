def init():
    pass


def run(file_paths):
    return [len(path) for path in file_paths]
