# Waits for coroutines in the event loop of its thread, as code of 2018 to 2021 did.
import asyncio
import json

async def fetch(value):
    await asyncio.sleep(0)
    return value * 2

def init():
    global loop, first
    loop = asyncio.get_event_loop()
    first = loop.run_until_complete(fetch(1))

def run(raw_data):
    value = asyncio.get_event_loop().run_until_complete(fetch(json.loads(raw_data)['data']))
    return [first, value, loop is asyncio.get_event_loop()]
