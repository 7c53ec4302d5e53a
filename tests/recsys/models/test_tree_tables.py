"""Tables of trees sum up to LightGBM's own bits, compiled and in NumPy, whatever the trees and the rows hold."""

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.models import tree_tables
from recsys.models.tree_tables import build_tables, sums_compiled, sums_in_numpy
from recsys.models.trees import open_booster

ODD = np.array([0.0, -0.0, 1e-36, -1e-36, 1e-35, np.inf, -np.inf, np.nan, 1e30], np.float32)


def random_tree(rng, n_leaves, n_features, thresholds):
    """The fields of a tree that grows by a random leaf at a time, as LightGBM's do."""
    left, right, parent = [], [], {0: None}
    for split in range(n_leaves - 1):
        leaf = int(rng.integers(split + 1)) if split else 0
        if parent[leaf] is not None:
            children, above = parent[leaf]
            children[above] = split
        left.append(~leaf)
        right.append(~(split + 1))
        parent[leaf], parent[split + 1] = (left, split), (right, split)
    n = n_leaves - 1
    return {
        "split_feature": [str(v) for v in rng.integers(n_features, size=n)],
        "threshold": [repr(float(v)) for v in rng.choice(thresholds, n)],
        "decision_type": [str(v) for v in rng.choice([0, 2, 4, 6, 8, 10], n)],
        "left_child": [str(v) for v in left],
        "right_child": [str(v) for v in right],
        "leaf_value": [repr(float(v)) for v in rng.normal(size=n_leaves)],
    }


def text_of(trees, n_features):
    """The trees as LightGBM writes them."""
    blocks = [
        f"Tree={number}\nnum_leaves={len(tree['leaf_value'])}\nnum_cat=0\n"
        + "".join(f"{name}={' '.join(values)}\n" for name, values in tree.items())
        + "is_linear=0\nshrinkage=1\n\n\n"
        for number, tree in enumerate(trees)
    ]
    return (
        f"tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx={n_features - 1}\n"
        f"objective=binary sigmoid:1\nfeature_names={' '.join(f'Column_{n}' for n in range(n_features))}\n"
        f"feature_infos={' '.join(['none'] * n_features)}\n"
        f"tree_sizes={' '.join(str(len(block)) for block in blocks)}\n\n{''.join(blocks)}end of trees\n"
    )


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    n_leaves=st.lists(st.integers(1, 64), min_size=1, max_size=6),
    n_features=st.integers(1, 5),
    n_rows=st.integers(0, 30),
)
def test_the_sums_are_those_of_lightgbm_to_the_bit(native, seed, n_leaves, n_features, n_rows):
    rng = np.random.default_rng(seed)
    thresholds = np.concatenate([rng.normal(size=6), [0.0, -1e-36, 1e-36, 1.0000000180025095e-35, -0.0]])
    trees = [random_tree(rng, n, n_features, thresholds) for n in n_leaves]
    matrix = rng.normal(size=(n_rows, n_features)).astype(np.float32)
    is_odd = rng.random(matrix.shape) < 0.3
    matrix[is_odd] = rng.choice(np.concatenate([ODD, thresholds.astype(np.float32)]), is_odd.sum())

    theirs = lightgbm.Booster(model_str=text_of(trees, n_features))
    expected = theirs.predict(matrix, raw_score=True) if n_rows else np.zeros(0)
    tables = build_tables(trees)
    assert tables is not None
    assert sums_in_numpy(tables, matrix).tobytes() == expected.tobytes()
    assert sums_compiled(native, tables, matrix).tobytes() == expected.tobytes()
    assert open_booster(text_of(trees, n_features)).predict(matrix, raw_score=True).tobytes() == expected.tobytes()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), n_thresholds=st.integers(1, 200), n_trees=st.integers(1, 60))
def test_few_and_many_thresholds_rank_values_as_numpy_does(native, seed, n_thresholds, n_trees):
    """Compiled, thresholds are floats of 32 bits, compared one and all or halved; values stand at and beside them."""
    rng = np.random.default_rng(seed)
    thresholds = np.concatenate([rng.normal(size=n_thresholds), [1e300, -1e300, 1e-300, 3.4028235e38, -3.4028235e38]])
    tables = build_tables([random_tree(rng, 8, 1, thresholds) for _ in range(n_trees)])
    assert tables is not None
    near = thresholds[np.abs(thresholds) < 1e38].astype(np.float32)
    values = np.concatenate([near, np.nextafter(near, np.float32(9)), np.nextafter(near, np.float32(-9)), ODD])
    matrix = np.ascontiguousarray(values[:, None])
    assert sums_compiled(native, tables, matrix).tobytes() == sums_in_numpy(tables, matrix).tobytes()


def test_one_split_worked_out_by_hand():
    tree = {
        "split_feature": ["1"], "threshold": ["0.5"], "decision_type": ["10"], "left_child": ["-1"],
        "right_child": ["-2"], "leaf_value": ["1.5", "-2"],
    }  # fmt: skip
    tables = build_tables([tree, tree])
    assert tables is not None
    rows = np.array([[9, 0.5], [9, 0.6], [9, np.nan]], np.float32)
    assert sums_in_numpy(tables, rows).tolist() == [3.0, -4.0, 3.0]  # equal goes left; unknown goes to the default


def test_trees_that_are_too_large_for_tables_are_walked_by_the_library(monkeypatch):
    rng = np.random.default_rng(3)
    matrix = rng.normal(size=(20, 3)).astype(np.float32)
    wide = [random_tree(rng, 65, 3, rng.normal(size=9))]
    many = [random_tree(rng, 8, 3, rng.normal(size=9)) for _ in range(4)]
    assert build_tables(wide) is None
    monkeypatch.setattr(tree_tables, "MAX_ENTRIES", 10)
    assert build_tables(many) is None
    for trees in (wide, many):
        theirs = lightgbm.Booster(model_str=text_of(trees, 3)).predict(matrix, raw_score=True)
        assert open_booster(text_of(trees, 3)).predict(matrix, raw_score=True).tobytes() == theirs.tobytes()


@pytest.mark.parametrize("change", [lambda rows: rows.astype(np.float64), np.asfortranarray, lambda rows: rows[::2]])
def test_a_matrix_that_the_compiled_loop_cannot_read_is_summed_in_numpy(change):
    rng = np.random.default_rng(4)
    trees, rows = [random_tree(rng, 8, 3, rng.normal(size=9))], rng.normal(size=(20, 3)).astype(np.float32)
    tables = build_tables(trees)
    assert tables is not None
    assert tables.sums(change(rows)).tobytes() == sums_in_numpy(tables, change(rows)).tobytes()
