import json

def init():
    pass

def run(http_body):
    return json.dumps({'n': len(json.loads(http_body))})
