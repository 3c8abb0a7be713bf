"""The panel of a proposed change."""
