"""
How often creators are delivered: the counts of the moment, and the controller of the weight of locality.
"""

from recsys.exposure.controller import ControllerState, locality_factor, step_controller
from recsys.exposure.counts import CreatorExposure

__all__ = ["ControllerState", "CreatorExposure", "locality_factor", "step_controller"]
