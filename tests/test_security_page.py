"""The page on security: each threat has a test that attacks it, and each test is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "security.md").read_text("utf-8")


def threats() -> list[list[str]]:
    block = PAGE.partition("## Threats")[2].partition("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in block.splitlines() if line.startswith("| ")]
    return rows[1:]


def test_every_threat_names_who_whom_and_a_test() -> None:
    assert len(threats()) > 15
    assert all(len(row) == 4 and all(cell.strip() for cell in row) for row in threats())
    assert [row[0] for row in threats() if "::test_" not in row[3]] == []


def test_every_test_that_is_named_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", PAGE)
    assert len(named) >= len(threats())
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not (ROOT / file).is_file() or f"def {name}(" not in (ROOT / file).read_text("utf-8")
    ]
    assert missing == []


def test_it_says_that_a_deployment_has_one_tenant() -> None:
    assert "A deployment serves one platform" in PAGE


def test_the_pages_for_strangers_lead_on() -> None:
    security, contributing = ((ROOT / f"{name}.md").read_text("utf-8") for name in ("SECURITY", "CONTRIBUTING"))
    assert "docs/security.md" in security and "SECURITY.md" in contributing
    make = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^(\w+):", make, re.MULTILINE))
    assert set(re.findall(r"`make (\w+)`", contributing)) <= targets
