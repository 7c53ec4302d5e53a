"""
Who may call the service, and what for.

- `serving.auth.keys`: service keys, their file and the keys in force; `serving.auth.scopes`: what a key may be for.
- `serving.auth.rates`: how many requests a key may make in a second.
"""
