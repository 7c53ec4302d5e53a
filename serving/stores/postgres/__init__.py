"""
The state on a PostgreSQL server: every store in two schemas, one for what is sealed and one for the keys.

`store` puts them together; `server` is the connections, `schema` and `functions.sql` what stands in the database. The
other modules are one concern each, named as in `serving.stores.sqlite`.
"""
