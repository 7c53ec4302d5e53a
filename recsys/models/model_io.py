"""Models as files of plain arrays and settings, and back: what an artifact holds of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
from scipy import sparse

from recsys.models.base import ItemItemModel, LinearSpace, PopularityModel, PreferenceModel
from recsys.models.blend import Blend
from recsys.models.ials import FactorSpace
from recsys.models.interactions import empty_matrix
from recsys.models.popularity import Popularity
from recsys.models.reranker import Reranker, count_features
from recsys.models.text import Centres, TextSpace
from recsys.models.trees import open_booster
from recsys.types import Array, Csr, Fields, Floats, JsonObject, Space

Arrays = Mapping[str, Array]
Settings = Fields
"""What a model holds beside its arrays, as JSON can write it."""
StoredModel = FactorSpace | TextSpace | LinearSpace | ItemItemModel

_IALS_SETTINGS = ("reg", "power", "unobserved", "negative_weight")
_CSR_ARRAYS = ("data", "indices", "indptr")


def to_arrays(model: PreferenceModel | Space) -> tuple[dict[str, Array], JsonObject]:
    """The arrays of a model by name, and the rest, which goes into the manifest. Raises TypeError for another model."""
    if isinstance(model, FactorSpace):
        rest = {name: getattr(model, name) for name in _IALS_SETTINGS}
        return {"item_vectors": model.item_vectors, "scales": model.scales}, {"kind": "factors", **rest}
    if isinstance(model, TextSpace):
        return {"item_vectors": model.item_vectors, "means": model.centres.means}, {
            "kind": "text",
            "languages": model.centres.languages,
            "half_life_days": model.half_life_days,
            "negative_weight": model.negative_weight,
        }
    if isinstance(model, LinearSpace):
        arrays = {"item_vectors": model.item_vectors, "fold_in_weights": model.fold_in_weights}
        return arrays, {"kind": "linear", "negative_weight": model.negative_weight}
    if isinstance(model, ItemItemModel):
        settings = {"kind": "item_item", "negative_weight": model.negative_weight, "reads_recent": model.reads_recent}
        if sparse.issparse(model.weights):
            return {name: getattr(model.weights, name) for name in _CSR_ARRAYS}, settings
        return {"dense": model.weights}, settings
    raise TypeError(f"found a model of type {type(model).__name__}, expected a space or a base model of a blend")


def from_arrays(arrays: Arrays, settings: Settings) -> StoredModel:
    """The inverse of `to_arrays`. Raises ValueError for an unknown kind, KeyError for a missing array."""
    kind = settings["kind"]
    if kind == "factors":
        rest = {name: float(settings[name]) for name in _IALS_SETTINGS}
        return FactorSpace(item_vectors=arrays["item_vectors"], scales=arrays["scales"], **rest)
    if kind == "text":
        return TextSpace(
            item_vectors=arrays["item_vectors"],
            centres=Centres(tuple(settings["languages"]), arrays["means"]),
            half_life_days=float(settings["half_life_days"]),
            negative_weight=float(settings["negative_weight"]),
        )
    negative_weight = float(settings["negative_weight"])
    if kind == "linear":
        return LinearSpace(arrays["item_vectors"], arrays["fold_in_weights"], negative_weight)
    if kind == "item_item":
        return ItemItemModel(_item_weights(arrays), negative_weight, bool(settings["reads_recent"]))
    raise ValueError(f"a model is of kind {kind!r}, expected factors, text, linear or item_item")


def count_items(model: PreferenceModel) -> int:
    """How many items a base model scores. One that is neither popularity nor item-item is a space."""
    if isinstance(model, PopularityModel):
        return int(model.by_market.shape[1])
    return int(model.weights.shape[0]) if isinstance(model, ItemItemModel) else len(cast(Space, model).item_vectors)


def _item_weights(arrays: Arrays) -> Csr | Floats:
    if "dense" in arrays:
        return arrays["dense"]
    matrix = empty_matrix(len(arrays["indptr"]) - 1)  # no copy and no check of arrays that are mapped and verified
    matrix.data, matrix.indices, matrix.indptr = (arrays[name] for name in _CSR_ARRAYS)
    return matrix


def write_model(folder: Path, prefix: str, model: PreferenceModel | Space) -> JsonObject:
    """Writes the arrays as files `<prefix>.<array>.npy`; returns the rest."""
    arrays, settings = to_arrays(model)
    for name, array in arrays.items():
        save_array(folder / f"{prefix}.{name}.npy", array)
    return settings


def read_model(folder: Path, prefix: str, settings: Settings) -> StoredModel:
    """A model whose arrays are the files `<prefix>.<array>.npy`."""
    paths = folder.glob(f"{prefix}.*.npy")
    return from_arrays({path.name.split(".")[-2]: map_array(path) for path in paths}, settings)


def read_space(folder: Path, prefix: str, settings: Settings) -> Space:
    """As `read_model`. Raises ValueError for a model that has no vectors."""
    model = read_model(folder, prefix, settings)
    if isinstance(model, ItemItemModel):
        raise ValueError(f"{prefix} is a model of kind {settings['kind']!r}, expected a space")
    return model


def _read_base_model(folder: Path, prefix: str, settings: Settings) -> PreferenceModel:
    """As `read_model`. Raises ValueError for a space that scores no user."""
    model = read_model(folder, prefix, settings)
    if isinstance(model, TextSpace):
        raise ValueError(f"{prefix} is a model of kind {settings['kind']!r}, expected a base model of a blend")
    return model


def write_blend(folder: Path, blend: Blend, spaces: Mapping[str, Space]) -> JsonObject:
    """Writes the base models that are neither one of `spaces` nor popularity; returns the rest of the blend."""
    base_models: dict[str, Settings] = {}
    names = {id(space): name for name, space in spaces.items()}
    for name, model in blend.base_models.items():
        if isinstance(model, PopularityModel):
            base_models[name] = {"kind": "popularity"}
        elif id(model) in names:
            base_models[name] = {"kind": "space", "space": names[id(model)]}
        else:
            base_models[name] = write_model(folder, f"blend.{name}", model)
    return {
        "base_models": base_models,
        "weights": blend.weights,
        "by_market": blend.by_market,
        "reranker": None if blend.reranker is None else _write_reranker(folder, blend.reranker),
    }


def read_blend(folder: Path, settings: Settings, spaces: Mapping[str, Space], popularity: Popularity) -> Blend:
    """The blend. A base model that is a space or popularity shares its arrays, so nothing is held twice."""
    base_models: dict[str, PreferenceModel] = {}
    for name, of_model in settings["base_models"].items():
        if of_model["kind"] == "popularity":
            base_models[name] = PopularityModel(popularity.scores)
        elif of_model["kind"] == "space":
            base_models[name] = _as_factors(spaces[of_model["space"]])
        else:
            base_models[name] = _read_base_model(folder, f"blend.{name}", of_model)
    reranker = None if settings["reranker"] is None else _read_reranker(folder, settings["reranker"], base_models)
    return Blend(base_models, settings["weights"], popularity.markets, settings["by_market"], reranker)


def _write_reranker(folder: Path, reranker: Reranker) -> JsonObject:
    (folder / "blend.reranker.txt").write_text(reranker.trees.model_to_string(), encoding="utf-8")
    save_array(folder / "blend.reranker.item_use.npy", reranker.item_use)
    return {"model_names": reranker.model_names, "offset": reranker.offset}


def _read_reranker(folder: Path, settings: Settings, base_models: Mapping[str, PreferenceModel]) -> Reranker:
    """Raises ValueError for trees that read other features than these base models give."""
    score, rank, constant = map(float, settings["offset"])
    names = tuple(settings["model_names"])
    trees = open_booster((folder / "blend.reranker.txt").read_text(encoding="utf-8"))
    expected = count_features({name: base_models[name] for name in names})
    if trees.num_feature() != expected:
        raise ValueError(f"the re-ranker reads {trees.num_feature()} features, expected {expected} of its base models")
    return Reranker(trees, (score, rank, constant), names, map_array(folder / "blend.reranker.item_use.npy"))


def _as_factors(space: Space) -> FactorSpace:
    if not isinstance(space, FactorSpace):
        raise ValueError(f"the blend names a space of type {type(space).__name__}, expected factors")
    return space


def save_array(path: Path, array: Array) -> None:
    """Writes an array, in the order of C."""
    np.save(path, np.ascontiguousarray(array), allow_pickle=False)


def map_array(path: Path) -> Array:
    """An array whose file is mapped rather than read."""
    array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    return array
