"""
Evaluation: of an artifact on held-out events (`offline`, `report`), of a policy from the log of another one (`ope`),
and of the engine on simulated people (`simulation`).
"""
