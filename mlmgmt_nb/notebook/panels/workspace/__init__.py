"""The browser of a workspace."""
