"""Packages of an image: requirements and conda files, the lock made of them, environments."""
