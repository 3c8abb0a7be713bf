import json

def run(data, request_headers):
    return [json.loads(data), request_headers['X-Mine'], request_headers.get('x-none')]
