"""Computes, where services run: one module for each kind."""
