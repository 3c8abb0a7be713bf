import logging
import sys

logging.basicConfig(level=logging.INFO)
log = logging.getLogger("iris")


def init():
    print("loading")


def run(body):
    print("got", body)
    print("no end of line", end="")
    print(" yet\nand a second line")
    log.info("worked")
    sys.stderr.write("left open")
    return len(body)
