"""Public data sets, read in their published layouts and written as dataset folders of the data contract."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from training.importers import (
    amazon_reviews_2023,
    kuairand,
    kuairand_signed,
    lastfm_360k,
    lastfm_countries,
    lightgcn,
    microlens,
    mind,
    movielens,
    recbole,
    yelp,
)
from training.importers.common import ImportReport

FORMATS: Final[Mapping[str, Callable[[Path, Path], ImportReport]]] = {
    "amazon-reviews-2023": amazon_reviews_2023.run,
    "kuairand": kuairand.run,
    "kuairand-signed": kuairand_signed.run,
    "lastfm-360k": lastfm_360k.run,
    "lastfm-countries": lastfm_countries.run,
    "lightgcn": lightgcn.run,
    "microlens": microlens.run,
    "mind": mind.run,
    "movielens": movielens.run,
    "recbole": recbole.run,
    "yelp": yelp.run,
}
"""Name of a format -> the function (source folder, dataset folder) -> report that imports it."""
