"""
The service over an engine, its stores on disk, and the commands that serve.

- `serving.app`: the HTTP service; `serving.run`: its process; `serving.settings`: its settings.
- `serving.routes`, `serving.bodies`, `serving.responses`, `serving.openapi`: what it is asked, answers and describes.
- `serving.middleware`, `serving.problems`, `serving.clock_guard`: the checks around every request, and its errors.
- `serving.stores`: the stores behind the protocols of `recsys.stores`.
- `serving.commands`: `sanad serve`, `feed`, `recommend`, `policy`, `experiment`, `creators`, `export`; `serving.demo`.

Nothing is imported here, so that a command loads only what it needs.
"""
