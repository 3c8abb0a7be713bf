"""Types of `run`'s arguments: made from samples, kept in the 2017 file format, used to read requests."""

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
