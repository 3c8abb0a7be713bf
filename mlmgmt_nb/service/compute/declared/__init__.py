"""Computes that keep what they are told: `protocol` is what the supervisor's controller asks of them."""
