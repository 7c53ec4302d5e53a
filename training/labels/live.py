"""
`sanad label --state`: the artifact's heads label the items that came over HTTP since it was trained, while the service
runs.

The queue is the catalogue itself: an item that came over HTTP waits until these heads have read its present text. An
item that a person reviewed afterwards does not wait (`recsys.services.intake`). Labels are written as a catalogue
revision, so they bind the next page of every worker, and a raised tier re-counts past deliveries. A row that is edited
meanwhile stays as it is and waits for the next round. Vectors wait for the next artifact: until then an item is
retrieved by its market, its creator and its age, not by its text.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypedDict

import polars as pl

from recsys.clock import Millis
from recsys.columns import LABEL_WAITS, PREDICTED, REVIEWED
from recsys.errors import ArtifactError, Conflict
from recsys.models.artifact import load_artifact
from recsys.models.manifest import Manifest
from recsys.progress import Progress, quiet
from recsys.stores.protocols import Catalogue, ItemChange, ItemRow
from recsys.types import Fields
from recsys.vocabulary import TIERS
from training.labels.heads import LabelHeads, load_heads
from training.labels.predict import head_vectors, is_readable, label_columns
from training.text.encoder import Encoder, EncoderParams, make_encoder
from training.text.features import encode_texts, vectors_fingerprint
from training.text.item_texts import declared_languages, item_texts

BATCH_ITEMS: Final = 256
"""Items that are read and written at once: some seconds from reading a row to writing its label."""

MAX_ROUNDS: Final = 5
"""Rounds over the queue; rows that are edited in each of them wait for the next run."""

_TEXT_COLUMNS: Final = ("item_id", "title", "text", "dialect", "language")


class LabelChange(TypedDict):
    """What the label changed about an item by itself: its tier before and now, and the prediction."""

    item_id: str
    before: str
    now: str
    predicted_tier: str | None
    label_confidence: float | None


ReadRows = Callable[[Sequence[ItemRow]], list[tuple[Fields, LabelChange]]]
"""Of each row: its columns with the new label, and what that did to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveLabelResult:
    """
    What a run did: items that the heads read, those of which nothing is predicted, and the raised ones with their tier
    before and now. `n_left` were edited again and again meanwhile, and still wait.
    """

    n_labelled: int
    n_unknown: int
    raised: tuple[LabelChange, ...]
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
) -> LiveLabelResult:
    """
    Labels every item that waits. Raises ArtifactError when the artifact has no heads, or was made by another encoder.

    `threshold` is the market's `label_threshold`: an edit does not lower a label of these heads that reached it.
    """
    heads = load_heads(_heads_file(artifact))
    done: dict[str, LabelChange] = {}
    waiting = _waiting_rows(catalogue, heads.version)
    read = _open_reader(artifact, heads, cache, threshold) if waiting else None  # an empty queue loads no encoder
    for _ in range(MAX_ROUNDS):
        if read is None or not waiting:
            break
        for start in range(0, len(waiting), BATCH_ITEMS):
            on_progress("label", start, len(waiting))
            with suppress(Conflict):  # the rows stay in the queue
                done |= _write(catalogue, waiting[start : start + BATCH_ITEMS], read, at)
        waiting = _waiting_rows(catalogue, heads.version)
    rank = TIERS.index
    return LiveLabelResult(
        n_labelled=len(done),
        n_unknown=sum(row["predicted_tier"] is None for row in done.values()),
        raised=tuple(row for row in done.values() if rank(row["now"]) > rank(row["before"])),
        n_left=len(waiting),
        revision=catalogue.since(2**62).revision,
    )


def _write(catalogue: Catalogue, rows: Sequence[ItemRow], read: ReadRows, at: Millis) -> dict[str, LabelChange]:
    """Labels rows in one write; what that did, by item. Raises Conflict when one was edited meanwhile."""
    fresh = read(rows)
    changes = [ItemChange(fields=fields, expects=row.revision) for row, (fields, _) in zip(rows, fresh, strict=True)]
    catalogue.put(changes, at)
    return {change["item_id"]: change for _, change in fresh}


def merge_label(old: Fields, new: Fields, version: str, threshold: float) -> Fields:
    """
    An item's columns with a new predicted label, `new` in `columns.PREDICTED`.

    The highest label that the same heads gave the item stays, whatever its text is now, so that rewording does not
    avoid it. Other heads, those of the next training, replace it.
    """
    others = {name: value for name, value in old.items() if name not in (*PREDICTED, LABEL_WAITS)}
    before = {name: old[name] for name in PREDICTED if old.get(name) is not None}
    after = {name: new[name] for name in PREDICTED if new.get(name) is not None}
    if before.get("label_version") == version and _sure_tier(before, threshold) >= max(_sure_tier(after, threshold), 1):
        after = {**before, "predicted_topics": after.get("predicted_topics", [])}
    return others | after | {"label_version": version}


def _sure_tier(label: Fields, threshold: float) -> int:
    """The tier that a predicted label raises to, 0 for none."""
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


def _open_reader(folder: Path, heads: LabelHeads, cache: Path, threshold: float) -> ReadRows:
    """A function that labels rows as the artifact would, after every file of it was compared with its checksum."""
    manifest = load_artifact(folder).manifest
    encoder = make_encoder(EncoderParams(**manifest.config["encoder"]), cache)
    _check_encoder(manifest, encoder, folder)
    second_encoder = manifest.config["labels"]["second_encoder"]

    def read(rows: Sequence[ItemRow]) -> list[tuple[Fields, LabelChange]]:
        table = {name: [row.fields.get(name) for row in rows] for name in _TEXT_COLUMNS}
        items = pl.DataFrame(table, dict.fromkeys(_TEXT_COLUMNS, pl.String))
        texts = item_texts(items)
        features = encode_texts(texts, declared_languages(items), encoder, cache)
        vectors = head_vectors(texts, features, second_encoder, cache)
        probabilities = heads.predict(texts, vectors, features.languages)
        predicted = label_columns(heads.questions, probabilities, is_readable(features), threshold).to_dicts()
        fresh = [
            merge_label(row.fields, new, heads.version, threshold) for row, new in zip(rows, predicted, strict=True)
        ]
        return [(fields, _describe_change(row, fields, threshold)) for row, fields in zip(rows, fresh, strict=True)]

    return read


def _check_encoder(manifest: Manifest, encoder: Encoder, folder: Path) -> None:
    if manifest.encoder != vectors_fingerprint(encoder):
        raise ArtifactError(
            f"found {folder} of encoder {manifest.encoder}, and here encoder '{encoder.name}' is "
            f"{vectors_fingerprint(encoder)}, expected the same: heads read the vectors of one encoder; train again"
        )


def _waiting_rows(catalogue: Catalogue, version: str) -> tuple[ItemRow, ...]:
    rows = catalogue.since(0).rows
    return tuple(row for row in rows if row.is_edited and _is_waiting(row.fields, version))


def _is_waiting(fields: Fields, version: str) -> bool:
    return LABEL_WAITS in fields or fields.get("label_version") not in (version, REVIEWED)


def _describe_change(row: ItemRow, fields: Fields, threshold: float) -> LabelChange:
    """What the label changed about an item by itself; its copies may have a higher tier."""
    given = TIERS.index(fields.get("risk_tier") or "R2")
    tiers = [TIERS[max(given, _sure_tier(label, threshold))] for label in (row.fields, fields)]
    return {
        "item_id": fields["item_id"],
        "before": tiers[0],
        "now": tiers[1],
        "predicted_tier": fields.get("predicted_tier"),
        "label_confidence": fields.get("label_confidence"),
    }
