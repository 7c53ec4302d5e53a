"""Nothing of the future: leaks are planted here, and each is caught."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from eval.offline.holdout import cutoff_of, hold_out
from eval.offline.leaks import check_pages, check_past
from eval.offline.replay import ReplayResult, replay
from recsys.clock import DAY, to_text
from recsys.errors import DataError, StageError
from recsys.metrics import EMPTY


@pytest.fixture(scope="module")
def replayed(small) -> ReplayResult:
    return replay(small.artifact, small.market, hold_out(small.artifact, small.data).people[:5], k=10)


def test_an_artifact_that_learned_up_to_its_cutoff_passes(small) -> None:
    check_past(small.artifact, cutoff_of(small.artifact))


def test_an_artifact_that_learned_from_the_holdout_is_refused(small) -> None:
    """Its manifest claims an earlier cutoff than the one that it was trained with."""
    claimed = cutoff_of(small.artifact) - 3 * DAY
    manifest = msgspec.structs.replace(small.artifact.manifest, cutoff=to_text(claimed))
    with pytest.raises(DataError, match=r"interactions from .* on in what the artifact learned from"):
        check_past(replace(small.artifact, manifest=manifest), claimed)


def test_one_interaction_of_the_future_is_enough(small) -> None:
    history, cutoff = small.artifact.histories.flat, cutoff_of(small.artifact)
    at = np.array(history.at)
    at[len(at) // 2] = cutoff
    histories = replace(small.artifact.histories, flat=replace(history, at=at))
    with pytest.raises(DataError, match="found 1 interactions"):
        check_past(replace(small.artifact, histories=histories), cutoff)


def test_what_was_seen_later_is_a_leak_too(small) -> None:
    cutoff = cutoff_of(small.artifact)
    with pytest.raises(DataError, match="it has seen what it is evaluated on"):
        check_past(replace(small.artifact, seen=replace(small.artifact.seen, until=cutoff + 1)), cutoff)


def test_a_page_with_a_video_of_the_future_is_caught(replayed: ReplayResult) -> None:
    page = replayed.pages["score"]
    check_pages([page], replayed.people, replayed.items, replayed.item_nos)
    published = np.array(replayed.items.published_at)
    published[page[2][page[2] != EMPTY][0]] = replayed.people[2].at + 1
    later = replace(replayed.items, published_at=published)
    with pytest.raises(StageError, match=r"published later, expected pages as of the request"):
        check_pages([page], replayed.people, later, replayed.item_nos)


def test_a_page_with_a_video_that_the_person_had_met_is_caught(replayed: ReplayResult) -> None:
    page = replayed.pages["score"].copy()
    person = replayed.people[1]
    page[1, 3] = replayed.item_nos[person.seen[0]]
    with pytest.raises(StageError, match=f"on the page of {person.user_id} at .*, met before"):
        check_pages([page], replayed.people, replayed.items, replayed.item_nos)
