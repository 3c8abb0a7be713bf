"""Serve a model: LogisticRegression (scikit-learn)."""

from skops import io


def init():
    """Load the model, once, before the first request."""
    global model
    model = io.load("model.skops")


def run(data):
    """Answer a request: `data` is a DataFrame with the columns age, dose, weight.

    The classes are, in this order: high, low, mid.
    """
    return model.predict_proba(data)
