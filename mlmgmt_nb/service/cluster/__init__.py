"""Several processes of the service on one database: members, their leader, notifications between them."""
