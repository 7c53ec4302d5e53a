"""
The state file: every store in one SQLite file, written by one thread and read by many.

`store` puts them together; `file` is the file and its threads, `schema` its tables. The other modules are one concern
each, named as in `recsys.stores.memory`.
"""
