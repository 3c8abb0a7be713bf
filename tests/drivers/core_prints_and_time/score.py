import json, time, logging

logging.basicConfig(level=logging.DEBUG)

def init():
    print('This is init')

def run(data):
    test = json.loads(data)
    print(f'received data {test}')
    logging.info(time.strftime('%Y'))
    return f'test is {test}'
