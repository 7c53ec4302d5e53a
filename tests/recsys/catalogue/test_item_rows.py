"""Rows read together are the rows read one by one: what they share is worked out once, and means the same."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recsys.catalogue.creators import Creator
from recsys.catalogue.item_rows import DTYPES, read_rows
from recsys.columns import LABEL_WAITS, REVIEWED
from recsys.stores.protocols import ItemRow, StatedWording
from recsys.vocabulary import FAMILIES, TIERS

CREATORS = {
    "a": Creator(creator_id="a", country="MA", region="MA-06", languages=("ary",), is_verified=True, audience="FR"),
    "b": Creator(creator_id="b", country="FR", is_hidden=True),
}
SOURCES = [None, "human", "partner", "platform", "model"]
CONFIDENCES = [None, 0.0, 0.5, 0.79, 0.8, 0.81, 1.0]
TAGS = [None, "ary", "ar-MA", "shi", "fr-FR", "en"]
FIELDS = st.fixed_dictionaries({
    "creator_id": st.sampled_from(["a", "b", "nobody"]), "risk_tier": st.sampled_from([None, *TIERS]),
    "risk_source": st.sampled_from(SOURCES), "risk_family": st.sampled_from([None, FAMILIES[0], FAMILIES[1]]),
    "risk_confidence": st.sampled_from(CONFIDENCES), "topics": st.sampled_from([None, [], ["S3"], ["S1", "S10"]]),
    "predicted_tier": st.sampled_from([None, *TIERS]), "predicted_family": st.sampled_from([None, FAMILIES[2]]),
    "label_confidence": st.sampled_from(CONFIDENCES), "label_version": st.sampled_from([None, REVIEWED]),
    "language": st.sampled_from(TAGS), "dialect": st.sampled_from(TAGS), "country": st.sampled_from([None, "MA", "FR"]),
    "region": st.sampled_from([None, "MA-06", "MA-07"]), "place_source": st.sampled_from([None, "partner", "inferred"]),
    "reviewed_fit": st.sampled_from([None, "MA", "EG"]), "is_hidden": st.sampled_from([None, False, True]),
    "min_age": st.sampled_from([None, 16, 18]), "published_at": st.integers(0, 2**41),
    "duration_s": st.sampled_from([None, 12.3]), "perceptual_hash": st.sampled_from([None, "dce9dcddaadb405f"]),
    "title": st.sampled_from(["", "Burn-OUT"]), "text": st.sampled_from([None, "À MIDI"]),
})  # fmt: skip


def rows_of(drawn) -> list[ItemRow]:
    return [
        ItemRow(
            item_no=2 * n + 1, revision=n, peak_tier=peak, is_edited=False,
            fields={**{name: value for name, value in fields.items() if value is not None}, "item_id": f"v{n}",
                    **({LABEL_WAITS: True} if waits else {})},
            wordings=(StatedWording(f"t{n % 2}", 8, n),),
        )
        for n, (fields, peak, waits) in enumerate(drawn)
    ]  # fmt: skip


@given(st.lists(st.tuples(FIELDS, st.integers(0, 4), st.booleans()), max_size=12))
def test_rows_read_together_are_those_read_one_by_one(market, drawn):
    rows, codes, codes_alone = rows_of(drawn), {}, {}
    together = read_rows(iter(rows), market, CREATORS, codes)
    alone = [read_rows([row], market, CREATORS, codes_alone) for row in rows]
    assert codes == codes_alone
    for name, values in together.columns.items():
        assert values.tolist() == [one.columns[name][0].item() for one in alone], name
        assert values.dtype == DTYPES[name]
    assert together.item_nos.tolist() == [row.item_no for row in rows]
    for name in ("item_ids", "creator_ids", "texts"):
        assert getattr(together, name) == [text for one in alone for text in getattr(one, name)]


def test_every_column_but_those_of_copies_and_the_artifact_is_read(market):
    read = read_rows(rows_of([({"creator_id": "a", "published_at": 1}, 0, False)]), market, CREATORS, {})
    left = set(DTYPES) - set(read.columns)
    assert left == {"tier", "minor_tier", "family", "min_age", "creator_row", "row"}
    assert all(np.shape(values) == (1,) for values in read.columns.values())
