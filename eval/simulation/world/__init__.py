"""A synthetic market for the demo, the tests and the simulator: see `build.generate` and docs/world.md."""
