"""Laws of labelling what came over the wire: what waits, what a new label may do to an older one, who wins a race."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.simulation.world.build import generate
from eval.simulation.world.params import WorldParams
from recsys.clock import Millis, from_text
from recsys.columns import PREDICTED
from recsys.data.tables import write_dataset
from recsys.errors import ArtifactError
from recsys.services.items import patch_item, put_item
from recsys.stores.memory import MemoryStore
from recsys.stores.protocols import Catalogue, CatalogueDelta, ItemChange, ItemRow
from recsys.types import Fields
from recsys.vocabulary import TIERS
from training.labels.heads import load_heads
from training.labels.live import label_live, merge_label
from training.params import TrainParams
from training.text.encoder import EncoderParams
from training.train import run

NOW: Millis = from_text("2026-11-20T18:00:00Z")
HEAVY = {"title": "quiz : quel trouble as-tu ? 🖤", "text": "Merci infiniment pour votre soutien. #اختبار #quiz"}
CALM = {"creator_id": "c0001", "title": "un dimanche au jardin avec les enfants", "risk_tier": "R0", "language": "fr"}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Vectors, encoded once for this module."""
    return tmp_path_factory.mktemp("vectors")


@pytest.fixture(scope="module")
def artifact(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact of a small world, with heads that know the demo's phrases."""
    folder = tmp_path_factory.mktemp("label-live")
    made = generate(WorldParams(n_items=1_500, n_users=40, n_events=3_000, seed=3))
    write_dataset(folder / "data", creators=made.creators, items=made.items, users=made.users, events=made.events)
    run(folder / "data", folder / "artifact", TrainParams(encoder=EncoderParams(model="use")), NOW, cache=cache)
    return folder / "artifact"


@pytest.fixture
def catalogue() -> Catalogue:
    """A live catalogue with one calm item that came over the wire."""
    store = MemoryStore()
    put_item(store.catalogue, "new", {**CALM, "risk_source": "platform"}, NOW)
    return store.catalogue


def fields_of(catalogue: Catalogue, item_id: str = "new") -> Fields:
    row = catalogue.get(item_id)
    assert row is not None
    return row.fields


def test_a_new_item_waits_once_and_an_item_of_an_artifact_never(artifact, cache, catalogue) -> None:
    catalogue.put([ItemChange(fields={**CALM, "item_id": "a", "published_at": NOW}, is_edited=False)], NOW)
    first = label_live(catalogue, artifact, NOW, cache)
    assert (first.n_labelled, first.n_left) == (1, 0)
    assert fields_of(catalogue)["label_version"] == load_heads(artifact / "labels.npz").version
    assert "label_version" not in fields_of(catalogue, "a")
    again = label_live(catalogue, artifact, NOW, cache)
    assert (again.n_labelled, again.revision) == (0, first.revision)  # nothing is written twice


def test_a_changed_text_waits_again_and_can_raise_the_tier(artifact, cache, catalogue) -> None:
    label_live(catalogue, artifact, NOW, cache)
    patch_item(catalogue, "new", {"is_hidden": False}, NOW)
    assert label_live(catalogue, artifact, NOW, cache).n_labelled == 0  # the words are the same
    patch_item(catalogue, "new", HEAVY | {"risk_tier": "R0"}, NOW)
    before = catalogue.since(0).newest_raise
    done = label_live(catalogue, artifact, NOW, cache)
    assert [(row["item_id"], row["before"], row["now"]) for row in done.raised] == [("new", "R0", "R2")]
    assert catalogue.since(0).newest_raise == done.revision > before  # past deliveries are counted again


def test_rewording_removes_no_label_of_the_same_heads(artifact, cache, catalogue) -> None:
    patch_item(catalogue, "new", HEAVY | {"risk_tier": "R0"}, NOW)
    label_live(catalogue, artifact, NOW, cache)
    patch_item(catalogue, "new", {"title": CALM["title"], "text": None, "risk_tier": "R0"}, NOW)
    assert label_live(catalogue, artifact, NOW, cache).n_labelled == 1
    assert fields_of(catalogue)["predicted_tier"] == "R2"


def test_a_review_by_a_person_ends_a_predicted_label_until_the_text_changes(artifact, cache, catalogue) -> None:
    patch_item(catalogue, "new", HEAVY | {"risk_tier": "R0"}, NOW)
    label_live(catalogue, artifact, NOW, cache)
    patch_item(catalogue, "new", {"risk_tier": "R0", "risk_source": "platform"}, NOW)
    assert fields_of(catalogue)["predicted_tier"] == "R2"  # sent again by a machine: no review
    patch_item(catalogue, "new", {"risk_tier": "R0", "risk_source": "human"}, NOW)
    assert "predicted_tier" not in fields_of(catalogue)
    assert label_live(catalogue, artifact, NOW, cache).n_labelled == 0
    patch_item(
        catalogue,
        "new",
        HEAVY | {"title": "quiz : as-tu ce trouble ?", "risk_tier": "R0", "risk_source": "platform"},
        NOW,
    )
    assert [row["now"] for row in label_live(catalogue, artifact, NOW, cache).raised] == ["R2"]


def test_what_the_engine_does_not_understand_stays_unknown_and_waits_no_longer(artifact, cache, catalogue) -> None:
    for n, title in enumerate(("ⴰⵣⵓⵍ ⴼⵍⵍⴰⵡⵏ ⴰⵢⵜⵎⴰ", "😭😭", "\u202e\u200b", "…")):
        put_item(catalogue, f"odd-{n}", {"creator_id": "c0001", "title": title}, NOW)
    done = label_live(catalogue, artifact, NOW, cache)
    assert done.n_labelled == 5
    assert not any("predicted_tier" in fields_of(catalogue, f"odd-{n}") for n in range(4))
    assert label_live(catalogue, artifact, NOW, cache).n_labelled == 0


class _Busy:
    """A catalogue in which somebody else edits the item between every reading and writing."""

    def __init__(self, held: Catalogue, times: int) -> None:
        self.held, self.times = held, times

    def since(self, revision: int) -> CatalogueDelta:
        return self.held.since(revision)

    def get(self, item_id: str) -> ItemRow | None:
        return self.held.get(item_id)

    def put(self, changes: Any, at: Millis) -> int:
        if self.times:
            self.times -= 1
            patch_item(self.held, "new", {"min_age": self.times + 1}, at)
        return self.held.put(changes, at)


def test_an_edit_at_the_same_time_wins_and_the_item_is_read_again(artifact, cache, catalogue) -> None:
    done = label_live(_Busy(catalogue, 1), artifact, NOW, cache)
    assert (done.n_labelled, done.n_left) == (1, 0)
    assert fields_of(catalogue)["min_age"] == 1
    patch_item(catalogue, "new", HEAVY | {"risk_tier": "R0"}, NOW)
    assert label_live(_Busy(catalogue, 99), artifact, NOW, cache).n_left == 1  # it ends all the same


def test_an_artifact_without_heads_is_refused(cache, catalogue, tiny_folder) -> None:
    with pytest.raises(ArtifactError, match="no label heads"):
        label_live(catalogue, tiny_folder, NOW, cache)


labels = st.fixed_dictionaries(
    {},
    optional={
        "predicted_tier": st.sampled_from(TIERS),
        "label_confidence": st.floats(0.5, 1),
        "predicted_topics": st.just(["S1"]),
        "label_version": st.sampled_from(["one", "two"]),
        "label_waits": st.just(True),
    },
)


@given(labels, labels)
def test_the_same_heads_never_lower_a_tier_and_no_other_column_changes(old: object, new: object) -> None:
    platform = {"item_id": "v", "risk_tier": "R1", "risk_source": "partner"}
    found = merge_label(platform | old, new, "one", 0.8)
    assert {name: value for name, value in found.items() if name not in PREDICTED} == platform
    assert found["label_version"] == "one"

    def raised_to(label: Fields) -> int:
        return TIERS.index(label.get("predicted_tier", "R0")) if label.get("label_confidence", 0) >= 0.8 else 0

    floor = raised_to(old) if old.get("label_version") == "one" else 0
    assert raised_to(found) == max(floor, raised_to(new))
