"""Schemas of a driver's inputs and outputs, in the file format of 2017: what is needed to write and read them.

from mlmgmt_nb.schema import DataTypes, SampleDefinition, generate_schema

generate_schema(run, {"input_df": SampleDefinition(DataTypes.PANDAS, frame)}, filepath="service_schema.json")
"""

from mlmgmt_nb.scoring.schema import (
    DataTypes,
    SampleDefinition,
    ServiceSchema,
    generate_schema,
    load_schema,
    save_schema,
)

__all__ = ["DataTypes", "SampleDefinition", "ServiceSchema", "generate_schema", "load_schema", "save_schema"]
