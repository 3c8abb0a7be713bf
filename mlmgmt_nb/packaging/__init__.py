"""Packaging: from a fitted object, a function or a model file and a sample to an application folder.

The folder has the model, a short driver (`score.py`), a schema, requirements and the code of the notebook that the
model needs. Nothing is sent, and the scoring runtime does not know this package: what it writes is an ordinary driver.
"""

from mlmgmt_nb.packaging.package import Package, package
from mlmgmt_nb.packaging.proof import Difference, Proof

__all__ = ["Difference", "Package", "Proof", "package"]
