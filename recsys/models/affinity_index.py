"""
The nearest items by affinity: those that a user would watch most of, by what is expected of each and by their own
coefficients, found by an index instead of a pass over the catalogue.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from recsys.models.affinity import embed_user
from recsys.models.features import RESPONSE
from recsys.models.index import sample_users
from recsys.models.ranker import RankerHeads
from recsys.types import Floats, History, Responses
from recsys.user.feedback import responses

AFFINITY: Final = "affinity"
"""The name of the index in an artifact."""


def index_vectors(heads: RankerHeads) -> Floats:
    """(n_items, d + 1) vectors of which the inner product with a `query_vector` is what a user would watch of each."""
    return np.ascontiguousarray(np.column_stack([heads.item_features, heads.rates[:, RESPONSE]]), np.float32)


def query_vector(user: Floats) -> Floats:
    """(d + 1,) of a user (d + 1,): their coefficients without the intercept, and 1 for what is expected of an item."""
    return np.append(user[:-1], np.float32(1)).astype(np.float32)


def sample_queries(heads: RankerHeads, histories: Mapping[str, History]) -> Floats:
    """(q, d + 1) vectors of users with whom recall is measured, as if they were shown what they reacted to."""
    expected = heads.rates[:, RESPONSE]
    users = [embed_user(heads.item_features, expected, _responses(history)) for history in sample_users(histories)]
    queries = [query_vector(user) for user in users]
    return np.array(queries, np.float32).reshape(-1, heads.item_features.shape[1] + 1)


def _responses(history: History) -> Responses:
    items, place = np.unique(history.items, return_inverse=True)
    return Responses(items, responses(place.astype(np.int32), history.weights, len(items)))
