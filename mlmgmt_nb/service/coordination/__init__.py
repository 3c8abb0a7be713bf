"""Several service processes on one database: members, their leader, and notifications between them."""
