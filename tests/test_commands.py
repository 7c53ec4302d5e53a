"""Every command as a person uses it: what it says, what it writes, and its exit code."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import typer

import sanad
from serving.stores.sqlite.store import SqliteStore

ROOT = Path(__file__).parents[1]
AT = "2026-11-20T18:30:00Z"

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Cli:
    """Runs one command in this process: its exit code, standard output and standard error."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        capfd.readouterr()
        code = sanad.run([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return code, out, err

    return run


def commands() -> list[tuple[str, ...]]:
    """Every command, with its group."""

    def walk(command: Any, names: tuple[str, ...]) -> list[tuple[str, ...]]:
        children = getattr(command, "commands", None)
        return [names] if not children else [n for name, c in children.items() for n in walk(c, (*names, name))]

    return walk(typer.main.get_command(sanad.app), ())


@pytest.mark.parametrize("names", commands(), ids=" ".join)
def test_every_command_explains_itself_with_an_example(names: tuple[str, ...], cli: Cli) -> None:
    code, out, _ = cli(*names, "--help")
    assert code == 0
    assert "Example: sanad " + " ".join(names) in " ".join(out.split())


ANSWERS_OTHERWISE = {("serve",), ("demo",), ("recommend",)}  # HTTP; for eyes; rows of JSON Lines or Parquet


@pytest.mark.parametrize("names", sorted(set(commands()) - ANSWERS_OTHERWISE), ids=" ".join)
def test_every_command_that_answers_has_an_answer_for_programs(names: tuple[str, ...], cli: Cli) -> None:
    assert "--json" in cli(*names, "--help")[1]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train", "nowhere", "--out", "file", "--encoder", "none"], "is a file"),
        (["train", "nowhere", "--out", "file/model", "--encoder", "none"], "its folder cannot be made"),
        (["label", "nowhere", "--report", "--json"], "found --report --json, expected a path to write to"),
    ],
)
def test_a_place_that_cannot_be_written_is_said_before_any_work(
    arguments: list[str], sentence: str, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    code, _, err = cli(*arguments, "--quiet")
    assert code == 2
    assert sentence in " ".join(err.split())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_version_is_a_line(cli: Cli) -> None:
    code, out, err = cli("--version")
    assert (code, err) == (0, "") and re.fullmatch(r"sanad \d+\.\d+\.\d+ \((compiled|Python) loops\)\n", out)


def test_a_shell_can_complete_commands() -> None:
    environ = os.environ | {"_SANAD_COMPLETE": "complete_bash", "COMP_WORDS": "sanad pol", "COMP_CWORD": "1"}
    command = [sys.executable, "-m", "sanad"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, env=environ)
    assert done.stdout.split() == ["policy"], done.stderr


def test_the_lines_of_a_paragraph_of_help_are_joined(cli: Cli) -> None:
    out = cli("serve", "--help")[1]
    assert "With service keys, callers need one." in " ".join(out.split())


def python(script: str) -> str:
    """What a script prints in a process of its own."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_help_waits_for_no_heavy_import() -> None:
    heavy = "{'numpy', 'polars', 'torch', 'fastapi', 'scipy', 'faiss', 'sqlite3'}"
    out = python(f"import sys, sanad; sanad.run(['--help']); print('heavy:', sorted({heavy} & set(sys.modules)))")
    assert out.splitlines()[-1] == "heavy: []"


def test_a_feed_never_imports_torch_nor_anything_that_trains(tiny_folder: Path) -> None:
    out = python(
        f"import sys, sanad; code = sanad.run(['feed', {str(tiny_folder)!r}, '--user', 'casa-adult', '--at', '{AT}']);"
        "print(code, sorted(m for m in sys.modules if m.split('.')[0] in ('torch', 'training', 'transformers')))"
    )
    modules = ("bench", "columns", "data", "imports", "label", "setup", "text", "tune")
    light = ["training", "training.commands", *(f"training.commands.{name}" for name in modules)]
    assert out.splitlines()[-1] == f"0 {light}"


# ---- from data to a feed ----


def test_the_whole_way_by_hand_is_five_commands(tmp_path: Path, cli: Cli) -> None:
    data, artifact = tmp_path / "data", tmp_path / "artifact"
    small = ("--items", "300", "--people", "40", "--events", "1000")
    assert cli("world", data, *small)[0] == 0
    code, out, _ = cli("validate", data, "--at", AT)
    assert code == 0 and "It can be trained on." in out
    code, out, err = cli("train", data, "--out", artifact, "--encoder", "none", "--at", AT)
    assert code == 0 and "300 items" in out
    assert "items have no risk_tier" in err  # what is unlabelled is said, and what that does to a page
    code, out, err = cli("feed", artifact, "--user", "casa-adult", "--at", AT)
    assert code == 0 and "20 videos" in out
    assert "counted in memory only" in err
    code, out, _ = cli("recommend", artifact, "--at", AT, "--size", "3", "--quiet")
    assert code == 0 and len(out.splitlines()) == 40 * 3


def test_a_seed_is_a_world(tmp_path: Path, cli: Cli) -> None:
    small = ("--items", "300", "--people", "10", "--events", "100", "--json", "--quiet")
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        code, out, err = cli("world", tmp_path / name, *small, "--seed", seed)
        assert code == 0 and err == "" and json.loads(out)["counts"]["items"] == 300
    a, b, c = (pl.read_parquet(tmp_path / name / "items.parquet") for name in "abc")
    assert a.equals(b) and not a.equals(c)


@pytest.mark.parametrize("command", [("world",), ("import", "movielens", "{source}")])
def test_data_is_never_written_over_data(command: tuple[str, ...], tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.csv").write_text("precious")
    (tmp_path / "source").mkdir()
    arguments = [word.format(source=tmp_path / "source") for word in command]
    code, _, err = cli(*arguments, tmp_path / "data")
    assert code == 2 and "expected a new or empty folder" in err
    assert (tmp_path / "data" / "mine.csv").read_text() == "precious"


def test_validate_says_no_with_exit_code_1_and_sets_the_rows_aside(tmp_path: Path, cli: Cli) -> None:
    cli("world", tmp_path / "data", "--items", "300", "--people", "10", "--events", "100")
    items = tmp_path / "data" / "items.parquet"
    pl.read_parquet(items).with_columns(duration_s=pl.lit(-1.0)).write_parquet(items)
    code, out, _ = cli("validate", tmp_path / "data", "--at", AT, "--rejected", tmp_path / "rejected")
    assert code == 1 and "column 'duration_s'" in out
    assert len(pl.read_parquet(tmp_path / "rejected" / "items.parquet")) == 300
    code, out, _ = cli("validate", tmp_path / "data", "--at", AT, "--json")
    assert code == 1 and json.loads(out)["ok"] is False
    code, _, err = cli("train", tmp_path / "data", "--out", tmp_path / "artifact", "--encoder", "none", "--at", AT)
    assert code == 2 and "rows are unusable" in err and not (tmp_path / "artifact").exists()


# ---- feeds ----


def test_a_feed_as_json_is_the_answer_of_the_service(tiny_folder: Path, cli: Cli) -> None:
    code, out, _ = cli("feed", tiny_folder, "--user", "nobody", "--size", "3", "--at", AT, "--json", "--quiet")
    page = json.loads(out)
    assert code == 0 and len(page["items"]) == 3 and page["safety"]["age_band"] == "13-15"


def test_with_a_state_file_the_second_page_repeats_nothing(tiny_folder: Path, tmp_path: Path, cli: Cli) -> None:
    asked = ("feed", tiny_folder, "--user", "casa-adult", "--at", AT, "--json", "--state", tmp_path / "state.db")
    pages = [{item["item_id"] for item in json.loads(cli(*asked)[1])["items"]} for _ in range(2)]
    assert pages[0] and pages[1] and not pages[0] & pages[1]


def test_a_feed_of_another_year_deletes_nothing_of_the_state_it_is_tried_on(
    tiny_folder: Path, tmp_path: Path, cli: Cli
) -> None:
    asked = ("feed", tiny_folder, "--user", "casa-adult", "--json", "--state", tmp_path / "state.db", "--at")
    first = json.loads(cli(*asked, AT)[1])
    assert cli(*asked, "2030-01-01T00:00:00Z")[0] == 0
    store = SqliteStore(tmp_path / "state.db")
    assert store.decisions.of_request(first["request_id"]) is not None
    store.close()


def test_a_feed_that_counts_refuses_a_clock_far_from_the_state_file(
    tiny_folder: Path, tmp_path: Path, cli: Cli
) -> None:
    asked = ("feed", tiny_folder, "--user", "casa-adult", "--json", "--state", tmp_path / "state.db")
    assert cli(*asked, "--at", AT)[0] == 0
    code, out, err = cli(*asked)  # the clock is days or years from it
    assert code == 2 and not out and "give the instant (--at)" in err and "safe feed" not in err


def test_a_state_file_that_cannot_be_made_is_a_failure_at_run_time(tiny_folder: Path, tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = cli("feed", tiny_folder, "--user", "u", "--at", AT, "--state", tmp_path / "file" / "state.db")
    assert code == 3 and "name another with --state" in err


def test_recommend_writes_the_same_rows_in_both_formats_on_every_run(
    tiny_folder: Path, tmp_path: Path, cli: Cli
) -> None:
    (tmp_path / "ids.txt").write_text("casa-adult\nrabat-parent\ncasa-adult\n\n")
    tables = []
    for name in ("a.jsonl", "b.parquet", "c.jsonl"):
        users = ("--users", tmp_path / "ids.txt", "--size", "5", "--at", AT)
        code, out, err = cli("recommend", tiny_folder, *users, "--out", tmp_path / name)
        assert code == 0 and out == "" and "2 people, 10 rows" in err
        read = pl.read_parquet if name.endswith("parquet") else pl.read_ndjson
        tables.append(read(tmp_path / name).rows())
    assert tables[0] == tables[1] == tables[2]
    assert [row[:2] for row in tables[0]] == [(u, n) for u in ("casa-adult", "rabat-parent") for n in range(1, 6)]
    assert {path.name for path in tmp_path.iterdir()} == {"ids.txt", "a.jsonl", "b.parquet", "c.jsonl"}


# ---- serving ----


def test_the_ready_line_works_as_pasted_and_ctrl_c_ends_it_cleanly(tiny_folder: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "sanad",
        "serve",
        str(tiny_folder),
        "--state",
        str(tmp_path / "s.db"),
        "--port",
        "0",
    ]
    service = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert service.stdout and service.stderr
    lines = []
    while len(pasted := [line.strip() for line in lines if line.startswith("  curl")]) < 2:
        line = service.stdout.readline()
        assert line, service.stderr.read()
        lines.append(line)
    try:
        assert re.search(r"Ready: http://127\.0\.0\.1:\d+ ", "".join(lines))
        assert "/v1/feed/somebody?" in pasted[0], "what goes to no terminal is kept, and names nobody"
        if shutil.which("curl"):
            pages = [paste(line) for line in pasted]
            assert [len(page["items"]) for page in pages] == [5, 5]
            assert pages[1]["safety"]["age_band"] == "18+"
    finally:
        service.send_signal(signal.SIGINT)
        _, err = service.communicate(timeout=30)
    assert service.returncode == 0
    assert "Traceback" not in err and "stopped; the state file is closed" in err


def paste(line: str) -> Any:
    """What a shell prints for a pasted line."""
    return json.loads(subprocess.run(["sh", "-c", line], capture_output=True, check=True, timeout=60).stdout)


def test_a_port_in_use_is_a_sentence(tiny_folder: Path, tmp_path: Path, cli: Cli) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, _, err = cli("serve", tiny_folder, "--state", tmp_path / "s.db", "--port", port)
    assert code == 2 and f"127.0.0.1:{port} not free" in err and "--port" in err


# ---- policy and experiments ----


def test_the_shipped_policy_and_experiments_pass_their_checks(cli: Cli) -> None:
    assert cli("policy", "check")[0] == 0
    assert cli("policy", "check", ROOT / "policies" / "strict.yaml")[0] == 0
    assert cli("experiment", "check")[0] == 0
    code, out, _ = cli("experiment", "list", "--json")
    assert code == 0 and json.loads(out)[0]["key"] == "local-boost-ma-2026-11"


def test_experiments_count_their_audience_on_a_users_table(tmp_path: Path, cli: Cli) -> None:
    users = tmp_path / "people.csv"
    rows = "".join(f"u{n},MA,fr,18+,verified\n" for n in range(400))
    users.write_text("user_id,country,languages,age_band,age_source\n" + rows, "utf-8")
    code, out, err = cli("experiment", "check", "--users", users)
    assert code == 0 and "400 of 400 people in the audience; control " in out and "min_users_per_variant" in err
    users.write_text(users.read_text("utf-8").replace("MA", "FR"), "utf-8")
    code, out, _ = cli("experiment", "check", "--users", users, "--json")
    assert code == 1 and json.loads(out)["audiences"][0]["n_audience"] == 0
    assert cli("experiment", "check", "--users", tmp_path / "none.csv")[0] == 2


def test_a_broken_policy_is_a_no_with_every_problem(tmp_path: Path, cli: Cli) -> None:
    text = (ROOT / "policies" / "morocco.yaml").read_text("utf-8")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(
        text.replace("label_threshold: 0.8", "label_threshold: 8").replace("slots: 1", "slots: 99"), "utf-8"
    )
    code, out, _ = cli("policy", "check", wrong)
    assert code == 1 and "label_threshold" in out and "slots" in out
    assert cli("policy", "show", wrong)[0] == 2  # it is input here, not the question
    code, out, _ = cli("policy", "check", wrong, "--json")
    assert code == 1 and json.loads(out)["ok"] is False


def test_a_policy_that_loosens_something_is_a_no(tmp_path: Path, cli: Cli) -> None:
    shipped = ROOT / "policies" / "morocco.yaml"
    cap = "R2: {last_20: 2, session: 3, rolling_24h: 6, rolling_7d: 21}"
    assert cap in shipped.read_text("utf-8")
    for session, code, direction in ((2, 0, "stricter"), (4, 1, "looser")):
        other = tmp_path / "other.yaml"
        changed = shipped.read_text("utf-8").replace(cap, cap.replace("session: 3", f"session: {session}"), 1)
        other.write_text(changed, "utf-8")
        exit_code, out, _ = cli("policy", "diff", shipped, other, "--json")
        rows = [row for row in json.loads(out)["changes"] if row["who"] == "18+, level 0, day"]
        assert exit_code == code
        assert [(row["limit"], row["before"], row["after"], row["direction"]) for row in rows] == [
            ("windows.R2.session", "3", str(session), direction)
        ]
    assert cli("policy", "diff", shipped, shipped)[1] == "0 limits differ, 0 of them looser.\n"


def test_explain_names_the_layer_that_set_each_limit(cli: Cli) -> None:
    _, out, _ = cli("policy", "explain", "--age", "13-15", "--night", "--json")
    rows = {row["path"]: (row["value"], row["set_by"]) for row in json.loads(out)}
    assert rows["windows.R2.session"] == (0, "night")
    assert rows["locality.floor"] == (0.3, "market")
    assert rows["labelled_only"] == (True, "age 13-15")


def test_explain_knows_the_night_of_an_instant_by_the_markets_clock(cli: Cli) -> None:
    """21:30 UTC is night for minors in Morocco, except in Ramadan, when its clocks show 21:30 too."""
    by_night, by_day = (cli("policy", "explain", "--age", "16-17", *more)[1] for more in (("--night",), ()))
    for instant, expected in (("2026-02-10T21:30:00Z", by_night), ("2026-03-01T21:30:00Z", by_day)):
        assert cli("policy", "explain", "--age", "16-17", "--at", instant)[1] == expected
    assert by_night != by_day and "…" not in by_night
    code, _, err = cli("policy", "explain", "--at", "tonight")
    assert code == 2 and "expected an instant such as" in err


# ---- errors ----


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("import", "netflix", "src", "data"), 2, "expected one of table"),
        (("import", "movielens", "nowhere", "data"), 2, "found no folder nowhere"),
        (("validate", "nowhere"), 2, "found no folder nowhere"),
        (("train", "nowhere", "--out", "artifact", "--at", "yesterday"), 2, "--at: found 'yesterday'"),
        (("feed", "nowhere", "--user", "u"), 2, "found no manifest.json"),
        (("feed", "nowhere"), 2, "found no --user"),
        (("serve",), 2, "found no ARTIFACT"),
        (("recommend", "nowhere", "--out", "pages.xlsx"), 2, "ends in .jsonl or .parquet"),
        (("experiment", "list", "nowhere"), 2, "found no such folder"),
        (("feed", "--size", "51"), 2, "less than or equal to 50"),
        (("nonsense",), 2, "nonsense"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_wrong_input_is_a_sentence_and_exit_code_2(
    arguments: tuple[str, ...], code: int, sentence: str, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SANAD_ARTIFACT", raising=False)
    exit_code, _, err = cli(*arguments)
    assert exit_code == code and sentence in " ".join(err.replace("│", " ").split())
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_a_traceback_is_for_whoever_asks(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANAD_DEBUG", "1")
    _, _, err = cli("feed", "nowhere", "--user", "u")
    assert "Traceback" in err


def test_a_closed_pipe_is_no_error() -> None:
    command = f"{sys.executable} -m sanad policy explain | head -n 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, cwd=ROOT, check=False, env=os.environ)
    assert "Traceback" not in done.stderr and "BrokenPipe" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ((), "neither DATA nor --state"),
        (("DATA", "--state", "STATE", "--artifact", "A"), "both DATA and --state"),
        (("--state", "STATE"), "--state without --artifact"),
        (("DATA", "--artifact", "A"), "--artifact without --state"),
        (("--state", "nowhere.db", "--artifact", "A"), "no file nowhere.db"),
        (("--state", "STATE", "--artifact", "A", "--report", "R"), "--report with --state"),
    ],
)
def test_labels_are_for_a_folder_or_for_a_state_file_with_its_artifact(
    arguments: tuple[str, ...], found: str, cli: Cli, tmp_path: Path
) -> None:
    (tmp_path / "state.db").touch()
    code, _, err = cli("label", *(str(tmp_path / "state.db") if a == "STATE" else a for a in arguments))
    assert (code, found in err) == (2, True), err


ODD = {
    "empty": b"",
    "100 kB": "كنحس ".encode() * 11_000,
    "emoji": "😭😭\n❤️‍🩹\n".encode(),
    "no UTF-8": b"bonjour \xff\xfe tout le monde\n\xc3\x28\n",
    "direction overrides": "\u202eje ne sais pas\u202c\n\u2067\u200f\n".encode(),
    "zero width": "\u200b\u200c\n".encode(),
    "control characters": b"\x00\x1b[31mrouge\x07\n",
}


@pytest.mark.parametrize("name", ODD)
def test_odd_texts_have_an_answer_for_every_line_and_steer_no_terminal(name: str, cli: Cli, tmp_path: Path) -> None:
    raw = ODD[name]
    file, out = tmp_path / "texts.txt", tmp_path / "new" / "v.npz"
    file.write_bytes(raw)
    n_lines = len(raw.decode("utf-8", "replace").splitlines())
    code, lines, err = cli("detect", file, "--json")
    assert (code, lines.count('"language"'), err) == (0, n_lines, "")
    code, table, err = cli("detect", file)
    assert (code, err) == (0, "")
    assert not set(table) & set("\x00\x07\x1b\u202e\u202c\u2067\u200f")
    assert cli("embed", file, "--out", out, "--encoder", "use", "--cache", tmp_path, "--quiet")[0] == 0
    vectors = np.load(out)["vectors"]
    assert vectors.shape == (n_lines, 512)
    assert np.isfinite(vectors).all()


def test_a_language_that_nobody_speaks_is_refused(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("salut")
    code, _, err = cli("detect", tmp_path / "texts.txt", "--declared", "klingon")
    assert (code, "found 'klingon', expected one of ar" in err) == (2, True)
