"""Serve a model: price (function)."""

import pickle


def init():
    """Load the model, once, before the first request."""
    global model
    with open("model.pkl", "rb") as file:
        model = pickle.load(file)


def run(age, plan="A"):
    """Answer a request."""
    return model(age=age, plan=plan)
