import asyncio


def init():
    global calls
    calls = []


async def run(body):
    if body == "crash":
        raise ValueError("no")
    await asyncio.sleep(0)
    return {"body": body, "loop": asyncio.get_running_loop().is_running()}
