import json


def run(body):
    return json.dumps({"length": len(json.loads(body))})
