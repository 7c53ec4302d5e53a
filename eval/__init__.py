"""Evaluation: of an artifact on held-out events (`offline`, `report`), and of the engine on simulated people."""
