"""
The stores in memory: for simulations, tests and a feed without a service. Safe between threads, gone with the process.

They keep the same promises as a file, except the one about power cuts.
"""

from recsys.stores.memory.catalogue import MemoryCatalogue
from recsys.stores.memory.store import MemoryStore

__all__ = ["MemoryCatalogue", "MemoryStore"]
