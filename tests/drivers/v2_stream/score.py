# A driver of an online endpoint whose answer is a stream of tokens.
def init():
    global words
    words = ["one", "two", "three"]


def run(data):
    for word in words[: int(data)]:
        yield f"{word} "
