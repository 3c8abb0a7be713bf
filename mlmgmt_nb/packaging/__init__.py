"""Packaging: create an application folder from a sample and a fitted object, a function or a model file.

The folder contains the model, a short driver (`score.py`), a schema, requirements, and the notebook code that the model
needs. Packaging sends nothing. The scoring runtime does not depend on it: the generated driver is an ordinary driver.
"""

from mlmgmt_nb.packaging.package import Package, package
from mlmgmt_nb.packaging.proof import Difference, Proof

__all__ = ["Difference", "Package", "Proof", "package"]
