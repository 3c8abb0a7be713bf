"""Authentication and authorization: bearer tokens, principals, their permissions, and the audit log."""
