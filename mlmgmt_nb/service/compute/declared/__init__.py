"""Computes that maintain declared services by themselves: `protocol` is the interface that the supervisor's controller
uses."""
