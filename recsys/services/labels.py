"""Where the label that an item counts comes from, for people: its source and kind of evidence, no word."""

from recsys.catalogue.items import Items
from recsys.columns import LABEL_WAITS
from recsys.services.copies import copy_of
from recsys.stores.protocols import ItemRow
from recsys.types import JsonObject
from recsys.vocabulary import TIERS


def label_origin(items: Items, item_no: int, row: ItemRow | None) -> JsonObject:
    """
    `source` and `evidence` of the tier that an item counts.

    | source | evidence |
    |---|---|
    | `human`, `partner`, `platform`, `model` or null | `review` for a label of `human`, else `label` |
    | `predicted` | `text`: what title and text are like, beside items that people labelled |
    | `copy` | `hash`, `creator_text` or `duration_text`: by what it is a copy of another item |
    | `nobody` | `none`: without a label it counts as R2 |
    """
    fields = {} if row is None else row.fields
    if items.tier[item_no] > items.own_tier[item_no]:
        evidence = next((join["evidence"] for join in copy_of(items, item_no) if join["tier"] is not None), "label")
        return {"source": "copy", "evidence": evidence}
    if is_predicted(row, int(items.own_tier[item_no])):
        return {"source": "predicted", "evidence": "text"}
    if not items.is_labelled[item_no]:
        return {"source": "nobody", "evidence": "none"}
    source = fields.get("risk_source")
    is_review = source == "human" and LABEL_WAITS not in fields
    return {"source": source, "evidence": "review" if is_review else "label"}


def is_predicted(row: ItemRow | None, tier: int) -> bool:
    """Whether an item counts at `tier` by its predicted label; no label counts as R2."""
    predicted = None if row is None else row.fields.get("predicted_tier")
    return row is not None and predicted == TIERS[tier] and tier > TIERS.index(row.fields.get("risk_tier") or "R2")
