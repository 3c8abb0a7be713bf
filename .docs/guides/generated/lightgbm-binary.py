"""Serve a model: LGBMClassifier (lightgbm)."""

import lightgbm
import numpy as np

CLASSES = np.array([False, True])


def init():
    """Load the model, once, before the first request."""
    global model
    model = lightgbm.Booster(model_file="model.txt")


def run(data):
    """Answer a request: `data` is a DataFrame with the columns age, dose, weight."""
    probability = model.predict(data)
    return CLASSES[(probability > 0.5).astype(int)]
