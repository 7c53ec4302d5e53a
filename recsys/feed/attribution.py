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
    for slot, row in enumerate(selection.rows.tolist()):
        if (item_no := int(candidates.item_nos[row])) == 0:
            continue
        creator_id = items.creator_ids[item_no]
        counts[creator_id, _attribution(selection, slot), bool(candidates["is_local"][row])] += 1
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
