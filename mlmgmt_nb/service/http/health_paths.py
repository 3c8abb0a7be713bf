"""The paths of the health checks of the Model Management service."""

__all__ = ["LIVE", "READY"]

LIVE = "/health/live"
"""Whether the service responds."""
READY = "/health/ready"
"""Whether its database responds, too."""
