"""The commands themselves, one module for each kind of resource."""
