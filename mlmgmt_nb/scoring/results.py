"""Encode a driver's return value as JSON: the path under which scripts import it."""

from mlmgmt_nb.scoring.encoding.encoder import encode_result

__all__ = ["encode_result"]
