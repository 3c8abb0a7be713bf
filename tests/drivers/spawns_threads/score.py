import threading
import time
from concurrent.futures import ThreadPoolExecutor


def init():
    global pool
    pool = ThreadPoolExecutor(4)
    threading.Thread(target=time.sleep, args=(600,)).start()


def run(body):
    threading.Thread(target=time.sleep, args=(600,)).start()
    return list(pool.map(lambda n: n * n, range(int(body))))
