"""The SQL store: tables, transactions, migrations, and the transitions of operations."""
