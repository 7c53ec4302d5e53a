"""
People on a simulated clock: personas scroll through a feed, react, and come back.

`world` makes the synthetic market and `personas` the people. `closed_loop.simulate_person` lets a person use a feed:
the real engine (`closed_loop.EngineFeed`) or a baseline (`baselines`). `recount` checks all deliveries, `outcomes` adds
them up, and `worth` compares pages with the truth. Modules are imported by name, as the world needs no engine.
"""
