"""The report: what the command prints and writes."""

import json
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from eval.commands.evaluate import app
from eval.offline.measure import Report
from eval.offline.run import EvalParams, evaluate
from eval.report.html_page import render
from eval.report.wording import METRIC_NAMES, accuracy_cost_sentence, cautions, headline, verdict, verdict_among
from eval.report.write import write
from recsys.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def report(small) -> Report:
    return evaluate(small.folder, small.data, small.policy, EvalParams(n_people=40))[0]


class _Tags(HTMLParser):
    """Counts what opens and closes, and what points outside."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action")]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_opens_anywhere(report: Report, small) -> None:
    """No script, no address, every tag closed: it can be sent around and opened offline."""
    tags = _Tags()
    page = render(report, small.market)
    tags.feed(page)
    assert tags.open == []
    assert tags.addresses == []
    assert "script" not in tags.tags
    assert "http" not in page and "url(" not in page


def test_the_page_escapes_what_it_is_given(report: Report, small) -> None:
    nasty = msgspec.structs.replace(report, model_version="<script>alert(1)</script>", notices=["<b>"])
    assert "<script>" not in render(nasty, small.market)


def test_every_number_of_a_person_has_an_interval_around_it(report: Report) -> None:
    for metric in METRIC_NAMES:
        for estimate in report.values[metric].values():
            if estimate.n:
                assert estimate.low <= estimate.mean <= estimate.high


def test_tiers_of_a_page_add_up(report: Report) -> None:
    for name in ("engine", "score", "popularity"):
        assert sum(report.values[tier][name].mean or 0 for tier in ("R0", "R1", "R2")) == pytest.approx(1, abs=1e-6)


def test_attention_and_supply_are_shares(report: Report) -> None:
    assert sum(place.eligible_share for place in report.places) == pytest.approx(1)
    assert sum(place.exposure["engine"] for place in report.places) == pytest.approx(1)


def test_a_report_is_the_same_for_the_same_seed(report: Report, small) -> None:
    again = evaluate(small.folder, small.data, small.policy, EvalParams(n_people=40))[0]
    assert msgspec.json.encode(again) == msgspec.json.encode(report)


def test_a_report_on_made_up_tiers_begins_with_that_caution(report: Report) -> None:
    assumed = msgspec.structs.replace(report, risk_source="assumed")
    assert "made up" in cautions(assumed)[0]
    assert not any("made up" in sentence for sentence in cautions(report))


def test_short_pages_are_explained_and_so_are_ages_that_nobody_knows(report: Report) -> None:
    short = msgspec.structs.replace(
        report, n_people=40, n_short_pages=3, kept_back={"gap:R1": 130.2, "pause": 7.0}, n_minors=5
    )
    text = " ".join(cautions(short))
    assert "3 of 40 pages are short. Left out of such a page, on average: 130 too soon after the last" in text
    assert "7 not asked for because of a pause" in text
    assert "5 of 40 people got the page of a minor" in text and "--assume-adults" in text
    assert "got the page of a minor" not in " ".join(cautions(msgspec.structs.replace(short, assume_adults=True)))


def test_how_the_data_differ_is_said_before_the_numbers(report: Report) -> None:
    assert cautions(msgspec.structs.replace(report, data_notes=["The past has changed."]))[0] == "The past has changed."


HEADLINE_COMPARISONS = (("watch", "score", "popularity"), ("ndcg", "engine", "popularity"))


def test_the_headline_claims_no_more_than_its_interval(report: Report) -> None:
    compared = [d for d in report.differences if (d.metric, d.first, d.second) in HEADLINE_COMPARISONS]
    sentences = headline(report).split("). ")
    assert len(sentences) == len(compared) == 2
    for sentence, comparison in zip(sentences, compared, strict=True):
        assert ("not clearly different" in sentence) == (not comparison.is_clear)
    assert accuracy_cost_sentence(report)


def test_the_command_writes_both_files_and_prints_json(small, tmp_path: Path) -> None:
    out = tmp_path / "report"
    arguments = [str(small.folder), "--data", str(small.data), "--out", str(out), "--users", "10", "--json", "--quiet"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    written = json.loads((out / "metrics.json").read_text())
    assert json.loads(result.stdout) == written
    assert written["n_people"] == 10
    assert sorted(path.name for path in out.iterdir()) == ["metrics.json", "report.html"]


def test_the_command_prints_a_table(small, tmp_path: Path) -> None:
    arguments = [str(small.folder), "--data", str(small.data), "--out", str(tmp_path / "x"), "--users", "10"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "Recall@20" in result.stdout and "popularity" in result.stdout


def test_a_folder_that_is_no_dataset_is_a_sentence(small, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found no file"):
        evaluate(small.folder, tmp_path, small.policy, EvalParams())


def test_a_report_on_data_without_watch_times_says_that_the_watch_fraction_tells_nothing(report) -> None:
    alike = {name: msgspec.structs.replace(estimate, mean=0.25) for name, estimate in report.values["watch"].items()}
    without = msgspec.structs.replace(report, values={**report.values, "watch": alike})
    said = "The data says nothing of how much was watched"
    assert any(sentence.startswith(said) for sentence in cautions(without))
    assert not any(sentence.startswith(said) for sentence in cautions(report))


def test_a_difference_that_chance_explains_among_many_is_not_claimed(report: Report) -> None:
    clear = next(d for d in report.differences if d.is_clear)
    assert verdict_among(msgspec.structs.replace(clear, p_holm=0.04)) == verdict(clear)
    assert verdict_among(msgspec.structs.replace(clear, p_holm=0.06)) == "not clear"


def test_empty_pages_are_told_apart(report: Report) -> None:
    filled = {"ndcg": {name: report.values["ndcg"][name] for name in ("engine", "popularity")}}
    some = msgspec.structs.replace(report, n_people=40, n_short_pages=3, n_empty_pages=2, filled=filled)
    said = "2 pages of the engine are empty and count as 0 in its accuracy. Over the 38 other people"
    assert said in " ".join(cautions(some))


@pytest.mark.parametrize("failing", [0, 1])
def test_an_interrupted_report_leaves_what_was_there(report: Report, small, tmp_path, monkeypatch, failing) -> None:
    write(report, small.market, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    real, n_written = Path.write_bytes, 0

    def interrupted(path: Path, content: bytes) -> int:
        nonlocal n_written
        if n_written == failing:
            real(path, content[:100])
            raise KeyboardInterrupt
        n_written += 1
        return real(path, content)

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(msgspec.structs.replace(report, seed=99), small.market, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_command_compares_and_names_its_models(small, tmp_path: Path) -> None:
    out, model = tmp_path / "x", next(iter(small.artifact.blend.base_models))
    arguments = [str(small.folder), "--data", str(small.data), "--out", str(out), "--users", "10", "--also-k", "3"]
    arguments += ["--against", str(small.folder), "--models", model]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "A is this artifact, B is" in result.stdout and "p Holm" in result.stdout
    assert "…" not in result.stdout and max(map(len, result.stdout.splitlines())) <= 80
    written = json.loads((out / "metrics.json").read_text())
    assert written["ks"] == [3, 20]
    assert [row["name"] for row in written["base_models"]] == ["score", model]
    assert "Beside the other artifact" in (out / "report.html").read_text()


def test_a_report_on_few_people_says_so(report: Report) -> None:
    few = msgspec.structs.replace(report, n_people=29)
    assert any(sentence.startswith("29 people are few") for sentence in cautions(few))
    assert not any("people are few" in sentence for sentence in cautions(msgspec.structs.replace(report, n_people=30)))


def test_a_run_that_is_refused_writes_nothing(small, tmp_path: Path) -> None:
    arguments = [str(small.folder), "--data", str(small.data), "--out", str(tmp_path / "x"), "--models", "psychic"]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, ConfigError) and "psychic" in str(result.exception)
    assert list(tmp_path.iterdir()) == []
