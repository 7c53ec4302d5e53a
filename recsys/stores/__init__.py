"""
What the engine needs from storage, as protocols; what is deleted and when; and the stores in memory.

`Stores` holds one store for each concern. The rule of a write to the catalogue is in `catalogue_write`, that of what
expires in `retention`; every implementation carries out both and decides nothing itself.
"""

from recsys.stores.memory import MemoryStore
from recsys.stores.protocols import (
    Catalogue,
    ControllerStore,
    DecisionLog,
    DecisionRecord,
    EventLog,
    ExposureCount,
    ExposureCounts,
    StoredAnswer,
    Stores,
    TrainingCutoffs,
    UserStore,
)

__all__ = [
    "Catalogue",
    "ControllerStore",
    "DecisionLog",
    "DecisionRecord",
    "EventLog",
    "ExposureCount",
    "ExposureCounts",
    "MemoryStore",
    "StoredAnswer",
    "Stores",
    "TrainingCutoffs",
    "UserStore",
]
