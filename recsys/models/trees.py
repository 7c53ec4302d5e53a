"""
Trees (LightGBM) from their text, checked before anything is computed with them.

The library reads whatever it is given: a child that points back at its parent makes it loop for ever, a feature outside
the table makes it read foreign memory. So the text is parsed and checked here, and the library gets a text that is
written anew from what was found in order. The sum of all trees needs no library: it comes from tables.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Final, cast

from recsys.models.tree_tables import TreeTables, build_tables
from recsys.types import Booster, Floats, Reals

_NUMBER: Final = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?")
_OBJECTIVE: Final = re.compile(r"[a-z_]+( [a-z_]+:[-+.\w]+)*")
_MAX_TREES: Final = 10_000
_MAX_LEAVES: Final = 10_000
_PER_SPLIT: Final = (
    "split_feature", "split_gain", "threshold", "decision_type", "left_child", "right_child",
    "internal_value", "internal_weight", "internal_count",
)  # fmt: skip
_PER_LEAF: Final = ("leaf_value", "leaf_weight", "leaf_count")
_NEEDED: Final = frozenset({"split_feature", "threshold", "decision_type", "left_child", "right_child", "leaf_value"})
_WHOLE: Final = frozenset(
    {"split_feature", "decision_type", "left_child", "right_child", "internal_count", "leaf_count"}
)

Fields = Mapping[str, str]


class CheckedTrees:
    """Trees whose text was checked. What tables do not give, the library does; it is loaded when first asked."""

    def __init__(self, text: str, n_trees: int, n_features: int, tables: TreeTables | None) -> None:
        self._text = text
        self._n_trees = n_trees
        self._n_features = n_features
        self._tables = tables

    def predict(
        self,
        data: Floats,
        *,
        start_iteration: int = 0,
        num_iteration: int | None = None,
        raw_score: bool = False,
        num_threads: int = 0,
        predict_disable_shape_check: bool = False,
    ) -> Reals:
        """See `Booster.predict`. The raw sum of all trees comes from tables, with the same bits."""
        is_whole = raw_score and start_iteration == 0 and num_iteration in (None, -1)
        if is_whole and self._tables is not None and data.ndim == 2 and data.shape[1] == self._n_features:
            return self._tables.sums(data)
        return self._library.predict(
            data,
            start_iteration=start_iteration,
            num_iteration=num_iteration,
            raw_score=raw_score,
            num_threads=num_threads,
            predict_disable_shape_check=predict_disable_shape_check,
        )

    def model_to_string(self, num_iteration: int | None = None) -> str:
        """The trees as text."""
        return self._library.model_to_string(num_iteration)

    def num_trees(self) -> int:
        """How many trees there are."""
        return self._n_trees

    def num_feature(self) -> int:
        """How many features the trees read."""
        return self._n_features

    @cached_property
    def _library(self) -> Booster:
        from lightgbm import Booster as LightGBM  # half a second and 60 MB: only where tables are not enough
        from lightgbm.basic import LightGBMError

        try:
            return cast(Booster, LightGBM(model_str=self._text))
        except LightGBMError as error:
            raise ValueError(
                f"found trees that cannot be read ({error}), expected the text that was written"
            ) from error


def open_booster(text: str) -> CheckedTrees:
    """Trees from their text. Raises ValueError for a text that is not a whole and harmless set of trees."""
    head, blocks = _parts(text)
    n_features = _check_head(head, blocks)
    trees = [_tree(block, number, n_features) for number, block in enumerate(blocks)]
    tables = build_tables([{name: value.split() for name, value in _fields(tree).items()} for tree in trees])
    return CheckedTrees(_write(head, trees, n_features), len(trees), n_features, tables)


def _write(head: Fields, trees: Sequence[str], n_features: int) -> str:
    """The text written anew from its checked fields."""
    blocks = [f"Tree={number}\n{tree}\n\n" for number, tree in enumerate(trees)]
    return "\n".join([
        "tree", "version=v4", "num_class=1", "num_tree_per_iteration=1", "label_index=0",
        f"max_feature_idx={n_features - 1}", f"objective={head['objective']}",
        "feature_names=" + " ".join(f"Column_{n}" for n in range(n_features)),
        "feature_infos=" + " ".join(["none"] * n_features),
        "tree_sizes=" + " ".join(str(len(block.encode())) for block in blocks), "", "".join(blocks) + "end of trees\n",
    ])  # fmt: skip


def _parts(text: str) -> tuple[Fields, Sequence[str]]:
    """The fields of the head, and the text of each tree."""
    head, *blocks = text.partition("\nend of trees")[0].split("\nTree=")
    return _fields(head), blocks


def _check_head(head: Fields, blocks: Sequence[str]) -> int:
    """How many features the trees read."""
    n_features = _integer(head, "max_feature_idx", 0, 100_000) + 1
    if _integer(head, "num_class", 1, 1) != _integer(head, "num_tree_per_iteration", 1, 1):
        raise _broken("several trees for one iteration")
    if len(blocks) > _MAX_TREES or len(blocks) != len(head.get("tree_sizes", "").split()):
        raise _broken(f"{len(blocks)} trees, and tree_sizes of another number")
    if not _OBJECTIVE.fullmatch(head.get("objective", "")):
        raise _broken("no objective")
    return n_features


def _tree(block: str, number: int, n_features: int) -> str:
    """One tree's fields, written anew."""
    first, _, rest = block.partition("\n")
    fields = _fields(rest)
    n_leaves = _integer(fields, "num_leaves", 1, _MAX_LEAVES)
    if first != str(number) or _integer(fields, "num_cat", 0, 0) or fields.get("is_linear", "0") != "0":
        raise _broken(f"tree {number} of another kind or place")
    lines = [f"num_leaves={n_leaves}", "num_cat=0"]
    for names, length in ((_PER_SPLIT, n_leaves - 1), (_PER_LEAF, n_leaves)):
        for name in names:
            if fields.get(name, "").strip() or (name in _NEEDED and length):
                lines.append(f"{name}={' '.join(_numbers(fields, name, length))}")
    if n_leaves > 1:
        _check_splits(fields, n_leaves, n_features)
    return "\n".join([*lines, "is_linear=0", f"shrinkage={_numbers(fields, 'shrinkage', 1)[0]}"])


def _check_splits(fields: Fields, n_leaves: int, n_features: int) -> None:
    """Every feature is one of the table, and from the root every split and every leaf is reached once."""
    if not all(0 <= feature < n_features for feature in _integers(fields, "split_feature")):
        raise _broken("a split by a feature that there is not")
    children = [*_integers(fields, "left_child"), *_integers(fields, "right_child")]
    if sorted(children) != [*range(-n_leaves, 0), *range(1, n_leaves - 1)]:
        raise _broken("a split or a leaf that is reached never or twice")
    left, right = children[: n_leaves - 1], children[n_leaves - 1 :]
    if sum(1 for _ in _walk(left, right)) != n_leaves - 1:
        raise _broken("splits that the root does not reach")


def _walk(left: Sequence[int], right: Sequence[int]) -> Iterator[int]:
    """Every split that the root reaches. Each is the child of one split at most, so that the walk ends."""
    waiting = [0]
    while waiting:
        split = waiting.pop()
        yield split
        waiting += [child for child in (left[split], right[split]) if child >= 0]


def _fields(text: str) -> Fields:
    pairs = (line.partition("=") for line in text.split("\n") if "=" in line)
    return {name: value for name, _, value in pairs}


def _numbers(fields: Fields, name: str, length: int) -> list[str]:
    values = fields.get(name, "").split()
    if len(values) != length or not all(_NUMBER.fullmatch(value) for value in values):
        raise _broken(f"{name} with {len(values)} numbers, {length} expected")
    if name in _WHOLE and not all(value.lstrip("-").isdecimal() for value in values):
        raise _broken(f"{name} that is no whole number")
    return values


def _integers(fields: Fields, name: str) -> list[int]:
    return [int(value) for value in fields[name].split()]


def _integer(fields: Fields, name: str, low: int, high: int) -> int:
    value = fields.get(name, "")
    if not value.isdecimal() or len(value) > 9 or not low <= int(value) <= high:
        raise _broken(f"{name} {value[:20]!r}")
    return int(value)


def _broken(what: str) -> ValueError:
    return ValueError(f"found damaged trees ({what}), expected the text that was written; train again")
