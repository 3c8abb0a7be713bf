"""Flavours: how the models of each framework are written to files, loaded by a driver and called.

A flavour is a `Flavour` in a small module. Others register theirs as entry points of the group `mlmgmt_nb.flavours`,
each of which names a `Flavour` object; these take precedence over the built-in ones.
"""

from mlmgmt_nb.packaging.flavours.base import Call, Flavour, SavedModel
from mlmgmt_nb.packaging.flavours.registry import flavour_of, flavours
from mlmgmt_nb.packaging.samples.sample import Sample

__all__ = ["Call", "Flavour", "Sample", "SavedModel", "flavour_of", "flavours"]
