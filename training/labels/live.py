"""
`sanad label --state`: what came over the wire since the artifact was trained gets the labels of the artifact's heads,
while the service runs.

The queue is the catalogue itself: an item that came over the wire waits until these heads have read its present words;
what a person reviewed after us does not wait (`recsys.services.items`). Labels are written as a catalogue revision,
so they bind the next page of every worker, and a raise re-counts past deliveries. A row that somebody edits meanwhile
stays as it is and waits for the next round. Vectors wait for the next artifact: until then an item is found by its
market, its creator and its age, not by its words.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from recsys.clock import Millis
from recsys.columns import LABEL_WAITS, PREDICTED, REVIEWED
from recsys.errors import ArtifactError, Conflict
from recsys.models.artifact import Manifest, load_artifact
from recsys.progress import Progress, quiet
from recsys.stores.protocols import Catalogue, ItemChange, ItemRow
from recsys.vocabulary import TIERS
from training.labels.heads import Heads, load_heads
from training.labels.predict import columns, is_heard, vectors_for
from training.text.encoder import Encoder, EncoderParams, make_encoder
from training.text.features import hear, name_of_vectors
from training.train import said_by

AT_ONCE: Final = 256  # items; some seconds from reading a row to writing its label
ROUNDS: Final = 5
_SAID: Final = ("item_id", "title", "text", "dialect", "language")


Read = Callable[[Sequence[ItemRow]], list[tuple[dict[str, Any], dict[str, Any]]]]
"""Of each row: its columns with the new label, and what that did to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """
    What a run did: items that were labelled, of those the ones of which nothing is known, and the raised ones with the
    tier they counted at and count at now. `n_left` were edited again and again meanwhile, and still wait.
    """

    n_labelled: int
    n_unknown: int
    raised: tuple[dict[str, Any], ...]
    n_left: int
    revision: int


def label_live(
    catalogue: Catalogue,
    artifact: Path,
    at: Millis,
    cache: Path,
    *,
    threshold: float = 0.8,
    on_progress: Progress = quiet,
) -> Live:
    """
    Labels every item that waits. Raises ArtifactError when the artifact has no heads, or not this encoder's.

    `threshold` is the market's `label_threshold`: a label of these heads that reached it is not lowered by an edit.
    """
    heads = load_heads(_heads_file(artifact))
    done: dict[str, dict[str, Any]] = {}
    waiting = _waiting(catalogue, heads.version)
    read = _reader(artifact, heads, cache, threshold) if waiting else None  # an empty queue loads no encoder
    for _ in range(ROUNDS):
        if read is None or not waiting:
            break
        for start in range(0, len(waiting), AT_ONCE):
            on_progress("label", start, len(waiting))
            with suppress(Conflict):  # the rows stay in the queue
                done |= _write(catalogue, waiting[start : start + AT_ONCE], read, at)
        waiting = _waiting(catalogue, heads.version)
    rank = TIERS.index
    return Live(
        n_labelled=len(done),
        n_unknown=sum(row["predicted_tier"] is None for row in done.values()),
        raised=tuple(row for row in done.values() if rank(row["now"]) > rank(row["before"])),
        n_left=len(waiting),
        revision=catalogue.since(2**62).revision,
    )


def _write(catalogue: Catalogue, rows: Sequence[ItemRow], read: Read, at: Millis) -> dict[str, dict[str, Any]]:
    """Labels rows in one write; what that did, by item. Raises Conflict when one was edited meanwhile."""
    fresh = read(rows)
    changes = [
        ItemChange(fields=fields, cluster_id=row.cluster_id, expects=row.revision)
        for row, (fields, _) in zip(rows, fresh, strict=True)
    ]
    catalogue.put(changes, at)
    return {told["item_id"]: told for _, told in fresh}


def merged(old: Mapping[str, Any], new: Mapping[str, Any], version: str, threshold: float) -> dict[str, Any]:
    """
    An item's columns with a new label of ours, `new` in `columns.PREDICTED`.

    The highest label that the same heads gave the item stays, whatever its words are now: rewording is no way around
    it. Other heads, those of the next training, speak afresh.
    """
    kept = {name: value for name, value in old.items() if name not in (*PREDICTED, LABEL_WAITS)}
    before = {name: old[name] for name in PREDICTED if old.get(name) is not None}
    after = {name: new[name] for name in PREDICTED if new.get(name) is not None}
    if before.get("label_version") == version and _sure(before, threshold) >= max(_sure(after, threshold), 1):
        after = {**before, "predicted_topics": after.get("predicted_topics", [])}
    return kept | after | {"label_version": version}


def _sure(label: Mapping[str, Any], threshold: float) -> int:
    """The tier that a label of ours raises to, 0 for none."""
    tier = label.get("predicted_tier")
    return TIERS.index(tier) if tier is not None and label.get("label_confidence", 0.0) >= threshold else 0


def _heads_file(artifact: Path) -> Path:
    path = artifact / "labels.npz"
    if not path.is_file():
        raise ArtifactError(
            f"found no label heads in {artifact}, expected an artifact that was trained with labels (at least 20 "
            "items of both answers, and not --no-labels); train one"
        )
    return path


def _reader(folder: Path, heads: Heads, cache: Path, threshold: float) -> Read:
    """Reads rows as the artifact does, after every file of it was compared with its checksum."""
    manifest = load_artifact(folder).manifest
    encoder = make_encoder(EncoderParams(**manifest.config["encoder"]), cache)
    _refuse_another(manifest, encoder, folder)
    also = manifest.config["labels"]["also"]

    def read(rows: Sequence[ItemRow]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        table = {name: [row.fields.get(name) for row in rows] for name in _SAID}
        items = pl.DataFrame(table, dict.fromkeys(_SAID, pl.String))
        texts = said_by(items)
        heard = hear(texts, items.select(pl.coalesce("dialect", "language")).to_series().to_list(), encoder, cache)
        chances = heads.answer(texts, vectors_for(texts, heard, also, cache), heard.languages)
        said = columns(heads.questions, chances, is_heard(heard), threshold).to_dicts()
        fresh = [merged(row.fields, new, heads.version, threshold) for row, new in zip(rows, said, strict=True)]
        return [(fields, _told(row, fields, threshold)) for row, fields in zip(rows, fresh, strict=True)]

    return read


def _refuse_another(manifest: Manifest, encoder: Encoder, folder: Path) -> None:
    if manifest.encoder != name_of_vectors(encoder):
        raise ArtifactError(
            f"found {folder} of encoder {manifest.encoder}, and here encoder '{encoder.name}' is "
            f"{name_of_vectors(encoder)}, expected the same: heads read no other encoder's vectors; train again"
        )


def _waiting(catalogue: Catalogue, version: str) -> tuple[ItemRow, ...]:
    rows = catalogue.since(0).rows
    return tuple(row for row in rows if row.is_edited and _is_waiting(row.fields, version))


def _is_waiting(fields: Mapping[str, Any], version: str) -> bool:
    return LABEL_WAITS in fields or fields.get("label_version") not in (version, REVIEWED)


def _told(row: ItemRow, fields: Mapping[str, Any], threshold: float) -> dict[str, Any]:
    """What the label did to an item by itself; its copies may count for more."""
    given = TIERS.index(fields.get("risk_tier") or "R2")
    tiers = [TIERS[max(given, _sure(label, threshold))] for label in (row.fields, fields)]
    return {
        "item_id": fields["item_id"],
        "before": tiers[0],
        "now": tiers[1],
        "predicted_tier": fields.get("predicted_tier"),
        "label_confidence": fields.get("label_confidence"),
    }
