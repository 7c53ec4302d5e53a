"""Stores that outlive the process, one folder for each kind of database: `sqlite`, `postgres` and `redis`."""
