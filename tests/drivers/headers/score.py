def run(a, request_headers):
    return [a, request_headers["X-Test"], request_headers.get("x-test"), "x-TEST" in request_headers]
