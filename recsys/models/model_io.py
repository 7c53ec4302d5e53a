"""Models as files of plain arrays and settings, and back: what an artifact keeps of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recsys.models.base import ItemItem, LinearSpace, Part, Popular
from recsys.models.blend import Blend
from recsys.models.ials import FactorSpace
from recsys.models.popularity import Popularity
from recsys.models.reranker import SecondLook, n_features
from recsys.models.text import Centres, TextSpace
from recsys.models.trees import open_booster
from recsys.types import Space

Arrays = Mapping[str, NDArray[Any]]


def taken_apart(model: Part | Space) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The arrays of a model by name, and the rest as it stands in the manifest. Raises TypeError for another model."""
    if isinstance(model, FactorSpace):
        rest = {name: getattr(model, name) for name in ("reg", "power", "unobserved", "refusal")}
        return {"item_vectors": model.item_vectors, "scales": model.scales}, {"kind": "factors", **rest}
    if isinstance(model, TextSpace):
        return {"item_vectors": model.item_vectors, "means": model.centres.means}, {
            "kind": "text",
            "languages": model.centres.languages,
            "half_life_days": model.half_life_days,
            "refusal_share": model.refusal_share,
        }
    if isinstance(model, LinearSpace):
        return {"item_vectors": model.item_vectors, "shares": model.shares}, {
            "kind": "linear",
            "refusal": model.refusal,
        }
    if isinstance(model, ItemItem):
        w: Any = model.weights
        is_sparse = sparse.issparse(model.weights)
        arrays = {name: getattr(w, name) for name in ("data", "indices", "indptr")} if is_sparse else {"dense": w}
        return arrays, {"kind": "items", "refusal": model.refusal, "is_recent": model.is_recent}
    raise TypeError(f"found a model of type {type(model).__name__}, expected a space or a part of a blend")


def put_together(arrays: Arrays, settings: Mapping[str, Any]) -> Any:
    """The inverse of `taken_apart`. Raises ValueError for a kind that is not one, KeyError for a missing array."""
    kind = settings["kind"]
    if kind == "factors":
        rest = {name: float(settings[name]) for name in ("reg", "power", "unobserved", "refusal")}
        return FactorSpace(item_vectors=arrays["item_vectors"], scales=arrays["scales"], **rest)
    if kind == "text":
        return TextSpace(
            item_vectors=arrays["item_vectors"],
            centres=Centres(tuple(settings["languages"]), arrays["means"]),
            half_life_days=float(settings["half_life_days"]),
            refusal_share=float(settings["refusal_share"]),
        )
    if kind == "linear":
        return LinearSpace(arrays["item_vectors"], arrays["shares"], float(settings["refusal"]))
    if kind == "items":
        return ItemItem(_weights(arrays), float(settings["refusal"]), bool(settings["is_recent"]))
    raise ValueError(f"a model is of kind {kind!r}, expected factors, text, linear or items")


def n_items(model: Any) -> int:
    """How many items a model scores."""
    if isinstance(model, Popular):
        return int(model.by_market.shape[1])
    return int(model.weights.shape[0] if isinstance(model, ItemItem) else len(model.item_vectors))


def _weights(arrays: Arrays) -> Any:
    if "dense" in arrays:
        return arrays["dense"]
    n = len(arrays["indptr"]) - 1
    made: Any = sparse.csr_matrix(np.zeros((0, 0), np.float32))
    made.resize(n, n)  # no copy and no check of arrays that are mapped and verified
    made.data, made.indices, made.indptr = arrays["data"], arrays["indices"], arrays["indptr"]
    return made


def write_model(folder: Path, prefix: str, model: Any) -> dict[str, Any]:
    """Writes the arrays as files `<prefix>.<array>.npy`; returns the rest."""
    arrays, settings = taken_apart(model)
    for name, array in arrays.items():
        save_array(folder / f"{prefix}.{name}.npy", array)
    return settings


def read_model(folder: Path, prefix: str, settings: Mapping[str, Any]) -> Any:
    """A model whose arrays are the files `<prefix>.<array>.npy`."""
    paths = folder.glob(f"{prefix}.*.npy")
    return put_together({path.name.split(".")[-2]: mapped(path) for path in paths}, settings)


def write_taste(folder: Path, taste: Blend, spaces: Mapping[str, Space]) -> dict[str, Any]:
    """Writes the parts that are not there yet as a space or as popularity; returns the rest of the blend."""
    parts: dict[str, Any] = {}
    names = {id(space): name for name, space in spaces.items()}
    for name, part in taste.parts.items():
        if isinstance(part, Popular):
            parts[name] = {"kind": "popularity"}
        elif id(part) in names:
            parts[name] = {"kind": "space", "space": names[id(part)]}
        else:
            parts[name] = write_model(folder, f"taste.{name}", part)
    return {
        "parts": parts,
        "weights": taste.weights,
        "by_market": taste.by_market,
        "second": _write_second(folder, taste.second),
    }


def _write_second(folder: Path, second: SecondLook | None) -> dict[str, Any] | None:
    if second is None:
        return None
    (folder / "taste.second.txt").write_text(second.trees.model_to_string(), encoding="utf-8")
    save_array(folder / "taste.second.use.npy", second.use)
    return {"names": second.names, "offset": second.offset}


def read_taste(folder: Path, said: Mapping[str, Any], spaces: Mapping[str, Space], popularity: Popularity) -> Blend:
    """The blend, over spaces and popularity where these are its parts, so that nothing is kept twice."""
    parts: dict[str, Part] = {}
    for name, settings in said["parts"].items():
        if settings["kind"] == "popularity":
            parts[name] = Popular(popularity.scores)
        elif settings["kind"] == "space":
            parts[name] = _as_part(spaces[settings["space"]])
        else:
            parts[name] = read_model(folder, f"taste.{name}", settings)
    second = _read_second(folder, said.get("second"), parts)
    return Blend(parts, said["weights"], popularity.markets, said["by_market"], second)


def _read_second(folder: Path, said: Mapping[str, Any] | None, parts: Mapping[str, Part]) -> SecondLook | None:
    """Raises ValueError for trees that read other features than these parts give."""
    if said is None:
        return None
    score, place, constant = map(float, said["offset"])
    names = tuple(said["names"])
    trees = open_booster((folder / "taste.second.txt").read_text(encoding="utf-8"))
    expected = n_features({name: parts[name] for name in names})
    if trees.num_feature() != expected:
        raise ValueError(f"the second look reads {trees.num_feature()} features, expected {expected} of its parts")
    return SecondLook(trees, (score, place, constant), names, mapped(folder / "taste.second.use.npy"))


def _as_part(space: Any) -> Part:
    if not isinstance(space, FactorSpace):
        raise ValueError(f"the blend names a space of type {type(space).__name__}, expected factors")
    return space


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Writes an array, in the order of C."""
    np.save(path, np.ascontiguousarray(array), allow_pickle=False)


def mapped(path: Path) -> NDArray[Any]:
    """An array whose file is mapped rather than read."""
    array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array
