"""The runner of small cases: what counts as a right answer."""

import sys
from pathlib import Path

import pytest

import benchmarks.cases as runner

TABLE = """
[commands]
count = "wc -l < lines.txt; exit 1"

[lines]
run = "count"
right = [{ says = ["7"] }, { exit = 1, says = ['^ *2$'], never = ["3"] }]

[other]
run = "echo 23; cat lines.txt > made-here"
right = [{ says = ["2"], never = ["3"] }]
"""


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    for name in ("lines", "other"):
        folder = tmp_path / "cases" / name
        folder.mkdir(parents=True)
        (folder / "README").write_text("kind: K0 a kind\nexpected: two lines\n")
        (folder / "lines.txt").write_text("a\nb\n")
    (tmp_path / "expected.toml").write_text(TABLE)
    return tmp_path / "cases"


def _run(monkeypatch: pytest.MonkeyPatch, cases: Path, *options: str) -> int:
    monkeypatch.setattr(runner, "EXPECTED", cases.with_name("expected.toml"))
    monkeypatch.setattr(sys, "argv", ["cases", str(cases), *options])
    with pytest.raises(SystemExit) as ended:
        runner.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_one_right_answer_of_several_is_enough(
    monkeypatch: pytest.MonkeyPatch, cases: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(monkeypatch, cases, "--only", "lines") == 0
    assert "1 of 1 right" in capsys.readouterr().out


def test_a_wrong_answer_is_shown_beside_the_expected_one_and_fails(
    monkeypatch: pytest.MonkeyPatch, cases: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(monkeypatch, cases) == 1
    printed = capsys.readouterr().out
    assert "expected: two lines" in printed
    assert "found: exit 0: 23" in printed
    assert not (cases / "other" / "made-here").exists()  # commands run in a copy


def test_a_case_without_an_expectation_and_no_case_at_all_fail(monkeypatch: pytest.MonkeyPatch, cases: Path) -> None:
    (cases / "unheard-of").mkdir()
    assert _run(monkeypatch, cases, "--only", "unheard") == 1
    assert _run(monkeypatch, cases, "--only", "nothing-like-it") == 1


def test_the_table_of_expectations_can_be_read(cases: Path) -> None:
    named = runner.read_cases(Path(str(runner.__file__)).with_name("cases_expected.toml"))
    assert len(named) >= 47
    assert all(case.right and case.run for case in named)
