"""The user's driver: load it, call its `run` for each request, encode the result.

loading    import the driver, find its schema, call `init`
driver     prepare the arguments of `run`, call it, encode its result
signature  what `run` takes: text, typed arguments, headers, the whole request
results    turn the return value of `run` into an answer
streaming  answers in parts
output     the output and logs of drivers, with the request id
"""
