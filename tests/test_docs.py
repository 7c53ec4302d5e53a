"""The documents: plain words, short sentences, and nothing that is not there."""

import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import typer

import sanad
from eval.simulation.world.build import generate
from eval.simulation.world.params import WorldParams
from recsys.data.tables import write_dataset

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = sorted(
    (*(ROOT / f"{name}.md" for name in ("README", "SECURITY", "CONTRIBUTING")), *(ROOT / "docs").glob("*.md"))
)
MAX_LINE_CHARACTERS: Final = 120
MAX_SENTENCE_WORDS: Final = 25

PRIVATE_WORDS: Final = re.compile(
    r"""\b(
        second\ look | jury | judges? | judged | judging | flattered | tastes? | wish(es)? | refusals? | portions?
        | lowpass | low-pass | bridge | heard | letter\ runs? | labels?\ of\ (ours|our\ own) | said\ and\ happened
        | warmth | steering | slow\ controller | tall(y|ies) | newcomers? | proven | caught\ up | lets_go
        | starred | gripped | sleepless | shelf | taken_apart | put_together | intake | said_\w+ | strength | lexicon
        | place\ a\ person | placing\ (a|the)\ person | AUC\ among\ shown | catalogue\ shown | slots\ filled
    )\b""",
    re.IGNORECASE | re.VERBOSE,
)
"""Words that only those who wrote the code would know, or that were renamed. docs/glossary.md has the field's words."""

PATH: Final = re.compile(r"(?<![\w/.<-])((?:[\w-]+/)+[\w-]+\.(?:py|md|svg|yaml|toml|txt|tsv|csv|jsonl))\b")
MADE_LATER: Final = ("var/", "private/")
COMMAND: Final = re.compile(r"\bsanad ((?:[a-z]+[ |]?)+)")


def prose(text: str) -> str:
    """The text without blocks of code and tables; every other line stays where it is."""
    text = re.sub(r"^```.*?^```$", lambda block: "\n" * block[0].count("\n"), text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"^( {4}|\|).*$", "", text, flags=re.MULTILINE)


def sentences(text: str) -> Iterator[tuple[int, str]]:
    """Each sentence with the number of its first line. Bullets and blank lines end a sentence; headings are none."""
    start, words = 1, ""
    for number, line in enumerate([*prose(text).split("\n"), ""], 1):
        if not line.strip() or re.match(r"\s*([-*]|\d+\.|#+|>|!\[)\s", line):
            yield from ((start, part) for part in split_sentences(words))
            start, words = number, ""
        words += f" {line}"
        if line.startswith("#"):
            start, words = number + 1, ""
    yield from ((start, part) for part in split_sentences(words))


def split_sentences(paragraph: str) -> Iterator[str]:
    """A stop or a colon ends a sentence. A piece of code, a link and a formula count as one word."""
    plain = re.sub(r"`[^`]*`", "code", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", paragraph))
    yield from (part for part in re.split(r"(?<=[.!?:])[)*\"”]*\s+", plain) if part.strip())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
class TestAPage:
    def test_has_no_private_word(self, page: Path) -> None:
        lines = page.read_text("utf-8").split("\n")
        hits = [(number, hit[0]) for number, line in enumerate(lines, 1) for hit in PRIVATE_WORDS.finditer(line)]
        assert hits == []

    def test_has_short_lines(self, page: Path) -> None:
        lines = page.read_text("utf-8").split("\n")
        text = [(number, line) for number, line in enumerate(lines, 1) if not line.startswith(("|", "  "))]
        assert [number for number, line in text if len(line) > MAX_LINE_CHARACTERS] == []

    def test_has_short_sentences(self, page: Path) -> None:
        found = [
            (line, sentence.strip())
            for line, sentence in sentences(page.read_text("utf-8"))
            if len(re.findall(r"\w[\w'’-]*", sentence)) > MAX_SENTENCE_WORDS
        ]
        assert found == []

    def test_names_only_files_that_exist(self, page: Path) -> None:
        names = {name for name in PATH.findall(page.read_text("utf-8")) if not name.startswith(MADE_LATER)}
        folders = (ROOT, page.parent)
        assert [name for name in sorted(names) if not any((folder / name).exists() for folder in folders)] == []

    def test_names_only_modules_that_exist(self, page: Path) -> None:
        names = set(re.findall(r"\b((?:recsys|serving|training|eval)(?:\.[a-z_]+)+)\b", page.read_text("utf-8")))
        assert [name for name in sorted(names) if not is_module(name)] == []

    def test_names_only_commands_that_exist(self, page: Path) -> None:
        assert [line for line in command_lines(page.read_text("utf-8")) if not is_command(line)] == []


def is_module(name: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:end])
        source = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
        if source.exists():
            return end == len(parts) or re.search(rf"\b{parts[end]}\b", source.read_text("utf-8")) is not None
    return False


def command_lines(text: str) -> Iterator[list[str]]:
    """The words of every `sanad ...` line in a block of code, without comments."""
    for block in re.findall(r"^```\w*\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").split("\n"):
            if line.startswith("sanad "):
                yield shlex.split(re.split(r"\s{3,}|\s#", line)[0])[1:]


def is_command(words: list[str]) -> bool:
    """Whether the words name a command, and every option after it exists. `a|b` names two commands."""
    command: Any = typer.main.get_command(sanad.app)
    for position, word in enumerate(words):
        if not hasattr(command, "commands"):
            known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
            return all(option.split("=")[0] in {*known, "--help"} for option in words[position:] if option[:2] == "--")
        if word.startswith("--"):
            return word in {"--version", "--help", "--install-completion", "--show-completion"}
        names = word.split("|")
        if any(name not in command.commands for name in names if name != "..."):
            return False
        command = command.commands[names[0]]
    return True


@pytest.mark.slow
def test_the_blocks_of_the_page_about_python_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a tiny world in place of the demo world. Each block uses the names of those before it."""
    blocks = re.findall(
        r"^```python\n(.*?)^```$", (ROOT / "docs" / "python.md").read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    world = generate(WorldParams(n_items=300, n_users=100, n_events=5_000))
    tables = {"creators": world.creators, "items": world.items, "users": world.users, "events": world.events}
    write_dataset(tmp_path / "var" / "data", **tables)
    (tmp_path / "session.py").write_text("\n".join(blocks), "utf-8")
    monkeypatch.chdir(tmp_path)
    session = runpy.run_path("session.py")
    assert session["best"].shape == (3, 10)
    assert len(session["response"].items) == 5
