"""Packages of an image: requirements and conda files, their lock, environments."""
