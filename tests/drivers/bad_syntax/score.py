def run(body):
    return (1,
