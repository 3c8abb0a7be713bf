def run(request_headers, data):
    return [data, request_headers['x-mine']]
