import asyncio, json

async def run(raw_data):
    await asyncio.sleep(0)
    return json.loads(raw_data)
