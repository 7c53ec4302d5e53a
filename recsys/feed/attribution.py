"""What one page adds to the counts of creators' exposure, and how each slot was won."""

from collections import Counter
from typing import Final

from recsys.catalogue.items import Items
from recsys.clock import DAY, Millis
from recsys.feed.slate import Selection
from recsys.policy.schema import Market
from recsys.stores.protocols import ExposureCount
from recsys.types import Candidates, Viewer

ATTRIBUTIONS: Final = ("floor", "exploration", "merit")


def exposure_of_page(
    items: Items, candidates: Candidates, selection: Selection, viewer: Viewer, market: Market, at: Millis
) -> tuple[ExposureCount, ...]:
    """
    What one page adds to the counts. A region that the market does not know is kept as unknown; an item that the
    catalogue does not hold has no creator to count for.
    """
    region = viewer.region if viewer.region in market.regions else None
    counts: Counter[tuple[str, str, bool]] = Counter()
    rows = selection.rows
    item_nos, are_local = candidates.item_nos[rows].tolist(), candidates["is_local"][rows].tolist()
    creator_ids = items.creator_ids.take(item_nos)
    for slot, (item_no, creator_id, is_local) in enumerate(zip(item_nos, creator_ids, are_local, strict=True)):
        if item_no:
            counts[creator_id, _attribution(selection, slot), is_local] += 1
    return tuple(
        ExposureCount(
            creator_id=creator_id, day=at // DAY, country=viewer.country, region=region or "", attribution=attribution,
            is_local=is_local, n=n,
        )
        for (creator_id, attribution, is_local), n in counts.items()
    )  # fmt: skip


def _attribution(selection: Selection, slot: int) -> str:
    """How a slot was won: by exploration, because the local floor left nothing else, or by its score."""
    if selection.is_exploration[slot]:
        return "exploration"
    return "floor" if selection.forced[slot] == "local" else "merit"
