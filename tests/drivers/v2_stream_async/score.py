# Server-sent events from an asynchronous generator, as for chat models.
import asyncio
import json


def init():
    pass


async def tokens(text):
    for token in text.split():
        await asyncio.sleep(0)
        yield f"data: {json.dumps({'token': token})}\n\n"
    yield "data: [DONE]\n\n"


def run(data):
    return tokens(json.loads(data)["prompt"])
