"""
The catalogue: items and creators as frozen arrays at one revision, how near items are to a viewer, and the cache.

`CatalogueCache` gives the newest `Items`. `locality.nearness` grades items for a viewer, from evidence with a source.
"""

from recsys.catalogue.cache import CatalogueCache
from recsys.catalogue.creators import EVIDENCE_SOURCES, Creator, EvidencedPlace, creator_from_row
from recsys.catalogue.items import Items, topic_bits, topic_names
from recsys.catalogue.new_creators import ExposureSnapshot
from recsys.catalogue.rankings import PrecomputedRankings

__all__ = [
    "EVIDENCE_SOURCES",
    "CatalogueCache",
    "Creator",
    "EvidencedPlace",
    "ExposureSnapshot",
    "Items",
    "PrecomputedRankings",
    "creator_from_row",
    "topic_bits",
    "topic_names",
]
