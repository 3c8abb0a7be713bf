"""Tests of panels in JupyterLab. A package for pytest, so that fixtures of the package end with its last test."""
