"""
Nothing of the future: an artifact that learned from what it is evaluated on is refused, and so is a page that shows
what was not there yet.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from eval.offline.holdout import HeldOutUser
from recsys.catalogue.items import Items
from recsys.clock import Millis, to_text
from recsys.errors import DataError, StageError
from recsys.metrics import EMPTY
from recsys.models.artifact import Artifact
from recsys.types import Ids, Pages


def check_past(artifact: Artifact, cutoff: Millis) -> None:
    """Raises DataError when the artifact remembers an interaction, or something seen, from the cutoff on."""
    at = artifact.histories.flat.at
    n_late = int((at >= cutoff).sum())
    if n_late or artifact.seen.until > cutoff:
        latest = max(int(at.max(initial=0)), artifact.seen.until)
        raise DataError(
            f"found {n_late:,} interactions from {to_text(cutoff)} on in what the artifact learned from (the latest at "
            f"{to_text(latest)}), expected none: it has seen what it is evaluated on; train again with --holdout-days"
        )


def check_pages(pages: Iterable[Pages], people: Sequence[HeldOutUser], items: Items, item_nos: Ids) -> None:
    """
    Raises StageError for a page that holds an item published after its request, or met by the person before.

    `pages` (q, k) each; `item_nos` (n_rows,) item numbers of the artifact's rows.
    """
    at = np.array([person.at for person in people])[:, None]
    met = [item_nos[person.seen] for person in people]
    for table in pages:
        is_future = (table != EMPTY) & (items.published_at[np.where(table != EMPTY, table, 0)] > at)
        is_met = np.stack([np.isin(page, seen) for page, seen in zip(table, met, strict=True)]) & (table != EMPTY)
        if np.any(is_future | is_met):
            row, slot = np.argwhere(is_future | is_met)[0]
            raise StageError(
                f"found {items.item_ids[int(table[row, slot])]} on the page of {people[row].user_id} at "
                f"{to_text(people[row].at)}, {'published later' if is_future[row, slot] else 'met before'}, expected "
                "pages as of the request; this is a fault of Sanad, please report it"
            )
