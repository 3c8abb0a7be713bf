"""Rich display of resources: HTML for notebooks, text for terminals."""
