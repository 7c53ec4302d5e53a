"""People of unknown age as adults: for sets without ages, in an evaluation and nowhere else."""

from collections.abc import Iterable
from dataclasses import replace

import polars as pl

from recsys.models.artifact import Artifact


def assume_adults(artifact: Artifact, user_ids: Iterable[str]) -> Artifact:
    """
    The artifact as if everybody had shown to be an adult, unless their band says that they are younger.

    `user_ids` are the people to evaluate, who need not be in the table of users. Nothing is written.
    """
    known = artifact.users.select(pl.exclude("age_band", "age_source"), *_bands(artifact.users))
    strangers = pl.DataFrame({"user_id": list(user_ids)}, {"user_id": pl.String}).join(known, on="user_id", how="anti")
    everybody = pl.concat([known, strangers], how="diagonal")
    is_adult = pl.col("age_band").fill_null("unknown").is_in(["unknown", "18+"])
    users = everybody.with_columns(
        age_band=pl.when(is_adult).then(pl.lit("18+")).otherwise("age_band"),
        age_source=pl.when(is_adult).then(pl.lit("verified")).otherwise("age_source"),
    )
    return replace(artifact, users=users)


def _bands(users: pl.DataFrame) -> list[pl.Expr]:
    """Band and source, null where the table has no such column."""
    return [
        pl.col(name) if name in users.columns else pl.lit(None, dtype=pl.String).alias(name)
        for name in ("age_band", "age_source")
    ]
