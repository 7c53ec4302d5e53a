"""Public data sets, read in their published layouts and written as dataset folders of the data contract."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from training.importers import kuairand, kuairand_signed, lastfm_countries, lightgcn, microlens, movielens
from training.importers.common import ImportReport

FORMATS: Final[Mapping[str, Callable[[Path, Path], ImportReport]]] = {
    "kuairand": kuairand.run,
    "kuairand-signed": kuairand_signed.run,
    "lastfm-countries": lastfm_countries.run,
    "lightgcn": lightgcn.run,
    "microlens": microlens.run,
    "movielens": movielens.run,
}
"""Name of a format -> the function (source folder, dataset folder) -> report that imports it."""
