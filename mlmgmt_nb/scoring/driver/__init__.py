"""The driver: find its files, load it, bind requests to `run`.

driver     load the driver and bind requests to `run`
streaming  answers in parts
output     what drivers print and log, with the request id
"""
