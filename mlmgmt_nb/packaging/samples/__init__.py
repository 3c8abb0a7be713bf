"""Samples of models and functions: the types of their arguments, and the values that the object receives."""
