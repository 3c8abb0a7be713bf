import resource


def init():
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[0])
    limit = pages * resource.getpagesize() + 300 * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def run(body):
    hoard = []
    for _ in range(int(body)):
        hoard.append(bytearray(2**20))
    return len(hoard)
