"""The live view of a scoring test."""
