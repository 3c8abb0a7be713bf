def init():
    pass

def run(input_array):
    return (input_array * 2).tolist()
