import pickle


def init():
    global model
    with open("model.pkl", "rb") as file:
        model = pickle.load(file)


def run(body):
    return model
