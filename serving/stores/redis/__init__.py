"""
The stores on Redis or Valkey, one server or a cluster, to the protocols of `recsys.stores.protocols`.

`store` puts them together; `servers` asks servers and waits for their replicas, `schema` names keys and checks what a
server promises, `people.lua` and `shared.lua` are what it does in one step. `outbox` moves what is not of one person,
`sink` keeps decision records outside. The other modules are one concern each, named as in `serving.stores.sqlite`.
"""
