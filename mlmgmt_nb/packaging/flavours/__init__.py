"""Flavours: the adapters that write the models of each framework to files, and generate the code to load and call them.

A flavour is a `Flavour` object in a small module. Other packages register flavours as entry points of the group
`mlmgmt_nb.flavours`, each of which names a `Flavour` object. They take precedence over the built-in flavours.
"""

from mlmgmt_nb.packaging.flavours.base import Call, Flavour, SavedModel
from mlmgmt_nb.packaging.flavours.registry import flavour_of, flavours
from mlmgmt_nb.packaging.samples.sample import Sample

__all__ = ["Call", "Flavour", "Sample", "SavedModel", "flavour_of", "flavours"]
