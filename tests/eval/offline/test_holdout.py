"""Laws of the holdout, on a dataset written by hand."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from eval.offline.holdout import HeldOutUser, hold_out, sample
from recsys.clock import DAY, HOUR, from_text, to_text
from recsys.data.tables import write_dataset
from recsys.errors import DataError
from recsys.models.artifact import Artifact, load_artifact
from training.params import TrainParams
from training.train import run

T0 = from_text("2026-11-01T12:00:00Z")
CUTOFF = T0 + 5 * DAY


def _event(n: int, user: str, kind: str, item: str | None, at: int, fraction: float | None = None, value: str = ""):
    return {
        "event_id": f"e{n}",
        "user_id": user,
        "kind": kind,
        "item_id": item,
        "at": at,
        "watch_fraction": fraction,
        "value": value or None,
    }


EVENTS = [
    _event(0, "amal", "complete", "a", T0),
    _event(1, "amal", "complete", "b", CUTOFF),  # at the cutoff is after it
    _event(2, "amal", "like", "a", CUTOFF + HOUR),  # seen before
    _event(3, "amal", "view", "c", CUTOFF + HOUR, 0.9),  # shown, but not watched to the end
    _event(4, "amal", "like", "risky", CUTOFF + HOUR),  # R2: never relevant
    _event(5, "amal", "like", "nobody-labelled", CUTOFF + HOUR),
    _event(6, "amal", "like", "later", CUTOFF + 3 * DAY),  # published after she came back
    _event(7, "badr", "like", "a", CUTOFF + DAY),
    _event(8, "badr", "undo", None, CUTOFF + DAY + HOUR, value="e7"),  # taken back
    _event(9, "badr", "like", "b", CUTOFF + DAY),
    _event(10, "badr", "not_interested", "b", CUTOFF + DAY + HOUR),  # 1.5 - 1 is less than one watch to the end
    _event(11, "chama", "complete", "c", CUTOFF + 2 * DAY),
    _event(12, "chama", "complete", "a", CUTOFF - 1),
]
PUBLISHED = {"later": CUTOFF + 2 * DAY}
TIERS = {"risky": "R2", "nobody-labelled": None}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("split") / "data"
    ids = ["a", "b", "c", "risky", "nobody-labelled", "later"]
    items = pl.DataFrame(
        {
            "item_id": ids,
            "creator_id": ["maker"] * len(ids),
            "published_at": [PUBLISHED.get(id_, T0 - DAY) for id_ in ids],
            "title": ids,
            "risk_tier": [TIERS.get(id_, "R0") for id_ in ids],
            "risk_source": ["human"] * len(ids),
        }
    )
    write_dataset(
        folder,
        creators=pl.DataFrame({"creator_id": ["maker"], "country": ["MA"]}),
        items=items,
        users=pl.DataFrame({"user_id": ["amal", "badr", "chama"]}),
        events=pl.DataFrame(EVENTS),
    )
    return folder


@pytest.fixture(scope="module")
def artifact(data: Path) -> Artifact:
    run(data, data.parent / "artifact", TrainParams(encoder=None, holdout_from=CUTOFF), CUTOFF + 9 * DAY)
    return load_artifact(data.parent / "artifact")


def _ids(artifact: Artifact, rows: np.ndarray) -> list[str]:
    return [artifact.items["item_id"][int(row)] for row in rows]


def test_relevant_is_new_calm_published_and_watched_to_the_end(artifact: Artifact, data: Path) -> None:
    amal, chama = hold_out(artifact, data).people
    assert (amal.user_id, _ids(artifact, amal.relevant)) == ("amal", ["b"])
    assert sorted(_ids(artifact, amal.exposed)) == ["b", "c", "nobody-labelled", "risky"]
    assert (chama.user_id, _ids(artifact, chama.relevant)) == ("chama", ["c"])


def test_what_was_met_before_the_cutoff_is_seen_and_never_relevant_again(artifact: Artifact, data: Path) -> None:
    for person in hold_out(artifact, data).people:
        assert _ids(artifact, person.seen) == ["a"]
        assert _ids(artifact, person.liked) == ["a"]
        assert not np.isin(person.seen, person.relevant).any()


def test_people_are_asked_for_when_they_came_back(artifact: Artifact, data: Path) -> None:
    assert [person.at for person in hold_out(artifact, data).people] == [CUTOFF, CUTOFF + 2 * DAY]


def test_reactions_that_were_taken_back_or_outweighed_are_not_relevant(artifact: Artifact, data: Path) -> None:
    holdout = hold_out(artifact, data)
    assert "badr" not in [person.user_id for person in holdout.people]
    assert holdout.n_active == 3  # he came back all the same: the negative feedback on b is there


def test_nothing_after_the_end_is_looked_at(artifact: Artifact, data: Path) -> None:
    holdout = hold_out(artifact, data, until=CUTOFF + DAY)
    assert [person.user_id for person in holdout.people] == ["amal"]


def test_an_artifact_that_learned_from_everything_cannot_be_evaluated(artifact: Artifact, data: Path) -> None:
    manifest = msgspec.structs.replace(artifact.manifest, cutoff=None)
    with pytest.raises(DataError, match="learned from all events"):
        hold_out(replace(artifact, manifest=manifest), data)


def test_a_holdout_without_a_relevant_item_is_refused(artifact: Artifact, data: Path) -> None:
    manifest = msgspec.structs.replace(artifact.manifest, cutoff=to_text(CUTOFF + 30 * DAY))
    with pytest.raises(DataError, match="no relevant held-out item"):
        hold_out(replace(artifact, manifest=manifest), data)


def test_a_sample_is_drawn_without_repeats_and_by_its_seed(artifact: Artifact, data: Path) -> None:
    holdout = hold_out(artifact, data)
    assert sample(holdout, None, np.random.default_rng(0)) == holdout.people
    assert sample(holdout, 9, np.random.default_rng(0)) == holdout.people
    first, again = (sample(holdout, 1, np.random.default_rng(3)) for _ in range(2))
    assert len(first) == 1 and first == again


def test_an_impression_counts_by_the_propensity_of_its_first_showing(artifact: Artifact, data: Path) -> None:
    events = [
        *EVENTS,
        {**_event(20, "amal", "impression", "b", CUTOFF + 2 * HOUR), "propensity": 0.9},
        {**_event(21, "amal", "impression", "b", CUTOFF + HOUR), "propensity": 0.2},
        _event(22, "amal", "view", "b", CUTOFF + HOUR, 0.9),
    ]
    frame = pl.DataFrame(events, infer_schema_length=None)
    amal = _people_of(artifact, data, frame)["amal"]
    shown = dict(zip(_ids(artifact, amal.impressions.rows), amal.impressions.propensity.tolist(), strict=True))
    assert shown["b"] == pytest.approx(0.2)
    reversed_ = _people_of(artifact, data, frame.reverse())["amal"]
    assert reversed_.impressions.propensity.tolist() == pytest.approx(amal.impressions.propensity.tolist(), nan_ok=True)


def _people_of(artifact: Artifact, data: Path, events: pl.DataFrame) -> dict[str, HeldOutUser]:
    """The held-out people, by user id, of the dataset with other events."""
    folder = data.parent / "other"
    tables = {name: pl.read_parquet(data / f"{name}.parquet") for name in ("creators", "items", "users")}
    write_dataset(folder, **tables, events=events)
    return {person.user_id: person for person in hold_out(artifact, folder).people}
