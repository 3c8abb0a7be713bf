"""Read and write schemas of a driver's inputs and outputs in the file format of 2017.

`generate_schema` creates a schema from sample data.

`install_azureml_imports()` makes `azureml.api.schema` and other imports from 2017 work in this process, as in a driver,
for old notebooks. Installed packages take precedence.
"""

from mlmgmt_nb.scoring.compat import install as install_azureml_imports
from mlmgmt_nb.scoring.schema import (
    DataTypes,
    SampleDefinition,
    ServiceSchema,
    generate_schema,
    load_schema,
    save_schema,
)

__all__ = [
    "DataTypes",
    "SampleDefinition",
    "ServiceSchema",
    "generate_schema",
    "install_azureml_imports",
    "load_schema",
    "save_schema",
]
