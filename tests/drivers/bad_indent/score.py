def init():
    pass


def run(body):
    x = 1
      return x
