"""Laws of an evaluation that takes people of unknown age for adults: it reaches no minor, artifact or service."""

from dataclasses import replace

import msgspec
import polars as pl
import pytest
from typer.main import get_command

import sanad
from eval.offline.ages import assume_adults
from eval.offline.run import EvalParams, evaluate
from eval.report.wording import cautions
from recsys.models.artifact import load_artifact
from recsys.vocabulary import AGE_BANDS, AGE_SOURCES


def users_of(small, rows: list[tuple[str, str | None, str | None]]) -> pl.DataFrame:
    users = pl.DataFrame(rows, ["user_id", "age_band", "age_source"], orient="row")
    return assume_adults(replace(small.artifact, users=users), ["stranger"]).users


@pytest.mark.parametrize("source", [None, *AGE_SOURCES])
@pytest.mark.parametrize("band", [None, *AGE_BANDS])
def test_only_who_may_be_an_adult_becomes_one(small, band: str | None, source: str | None) -> None:
    users = users_of(small, [("one", band, source)])
    is_younger = band not in (None, "unknown", "18+")
    expected = ("one", band, source) if is_younger else ("one", "18+", "verified")
    assert users.rows() == [expected, ("stranger", "18+", "verified")]


def test_a_table_without_ages_gets_them(small) -> None:
    users = assume_adults(replace(small.artifact, users=pl.DataFrame({"user_id": ["one"]})), ["one"]).users
    assert users.select("user_id", "age_band", "age_source").rows() == [("one", "18+", "verified")]


def test_the_report_says_it_first_and_the_artifact_is_as_before(small) -> None:
    before = {path.name: path.read_bytes() for path in small.folder.iterdir()}
    params = EvalParams(n_people=20, assume_adults=True)
    report, _ = evaluate(small.folder, small.data, small.policy, params)
    assert msgspec.json.decode(msgspec.json.encode(report))["assume_adults"] is True
    assert cautions(report)[0].startswith("People of unknown age count as adults here (--assume-adults)")
    assert {path.name: path.read_bytes() for path in small.folder.iterdir()} == before
    assert load_artifact(small.folder).users.equals(small.artifact.users)


def test_only_commands_that_show_nothing_to_anybody_take_it() -> None:
    def options(command: object, name: str = "") -> dict[str, set[str]]:
        children = getattr(command, "commands", {})
        if children:
            return {k: v for child, c in children.items() for k, v in options(c, f"{name} {child}").items()}
        return {name: {option for parameter in getattr(command, "params", []) for option in parameter.opts}}

    found = [name for name, opts in options(get_command(sanad.app)).items() if "--assume-adults" in opts]
    assert sorted(found) == [" eval", " ope"]
