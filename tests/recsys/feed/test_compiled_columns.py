"""The compiled loop gives the bytes of the reference, whatever stands in the columns."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.feed.compact import KIND, code_columns
from recsys.feed.compiled_columns import code_columns_compiled

EXTREMES = [-(2**63), 2**63 - 1, -1, 0, 1]
ODD_SCORES = [np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, -0.0, 0.0, 1e-45]


def random_columns(rng, n, width):
    columns = {name: rng.integers(-width, width + 1, n).astype(np.int8).view(dtype) for name, dtype in KIND.items()}
    for name, dtype in KIND.items():
        if dtype == "?":
            columns[name] = rng.random(n) < 0.5
    creators = rng.integers(-width, width + 1, n)
    return columns | {"creator_no": np.where(rng.random(n) < 0.1, rng.choice(EXTREMES, n), creators)}


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    n=st.integers(1, 400),
    width=st.integers(0, 120),
    n_named=st.integers(0, 30),
    n_listed=st.integers(1, 60),
    order=st.sampled_from(["falling", "equal", "any", "odd"]),
)
def test_columns_are_coded_as_in_numpy(native, seed, n, width, n_named, n_listed, order):
    rng = np.random.default_rng(seed)
    columns, sources = random_columns(rng, n, width), rng.integers(0, 2**16, n).astype("<u2") % (width + 1)
    scores = (rng.normal(size=n) * 10.0 ** rng.integers(-30, 30)).astype("<f4")
    scores = {"falling": np.sort(scores)[::-1], "equal": scores[:1].repeat(n), "any": scores, "odd": scores}[
        order
    ].copy()
    if order == "odd":
        scores[rng.integers(n)] = rng.choice(ODD_SCORES)
    named = rng.permutation(np.unique(np.concatenate([rng.integers(-width, width + 1, n_named), EXTREMES[:2]])))
    chosen = rng.permutation(n)[: min(n, 20)].tolist()
    listed, exact = (np.array(sorted({*range(min(n, first)), *chosen}), np.intp) for first in (n_listed, 1))
    expected = code_columns(columns, sources, scores, named, listed, exact)
    raw = {name: column.tobytes() for name, column in columns.items()}
    coded = code_columns_compiled(native, raw, sources.tobytes(), scores.tobytes(), named, listed, exact)
    assert coded == expected
