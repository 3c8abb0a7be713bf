"""The JSON that a driver's return value is answered with, under the path by which scripts import it."""

from mlmgmt_nb.scoring.encoding.encoder import encode_result

__all__ = ["encode_result"]
