"""The live view of an operation."""
