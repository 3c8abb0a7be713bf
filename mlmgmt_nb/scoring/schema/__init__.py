"""Types of the arguments of `run`: created from samples, stored in the file format of 2017, used to read requests."""

from mlmgmt_nb.scoring.schema.file import ServiceSchema, load_schema, save_schema
from mlmgmt_nb.scoring.schema.samples import SampleDefinition, generate_schema
from mlmgmt_nb.scoring.schema.types import ArgumentType, DataTypes, InputError, SchemaError

__all__ = [
    "ArgumentType",
    "DataTypes",
    "InputError",
    "SampleDefinition",
    "SchemaError",
    "ServiceSchema",
    "generate_schema",
    "load_schema",
    "save_schema",
]
