import numpy as np


def run(x):
    assert x.dtype == np.float64
    return {"sum": x.sum(axis=1), "shape": x.shape}
