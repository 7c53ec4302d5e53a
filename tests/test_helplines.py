"""`sanad helplines`: entries are edited, verified and go stale by date, and the rest of the file stays as it is."""

import json
import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest

import sanad
from recsys.clock import now
from recsys.policy.checks import load_market
from recsys.policy.nights import local_time
from recsys.policy.schema import Market
from recsys.safety.helplines import shown_helplines, verifications

ROOT = Path(__file__).parents[1]

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str]) -> Say:
    """Runs one command in this process: its exit code, standard output and standard error."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        capfd.readouterr()
        code = sanad.run([str(argument) for argument in ("helplines", *arguments)])
        out, err = capfd.readouterr()
        return code, out, err

    return run


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return Path(shutil.copy(ROOT / "policies" / "morocco.yaml", tmp_path / "ours.yaml"))


def today(market: Market) -> date:
    from recsys.clock import zone

    return local_time(now(), zone(market.time_zone)).date()


def standings(path: Path, day: date) -> dict[str, str]:
    return {entry.id: entry.standing for entry in verifications(load_market(path), day)}


def test_what_ships_is_verified_by_nobody_and_the_check_is_a_no(say: Say) -> None:
    code, out, _ = say("check")
    assert code == 1
    assert "0 of 2 helplines verified (cards show their text alone), 0 of 3 card texts" in out
    assert all(f"{name}: nobody verified it" in out for name in ("onde", "emergency-medical", "card.crisis"))
    code, out, _ = say("list", "--json")
    assert code == 0 and {entry["standing"] for entry in json.loads(out)} == {"never"}
    assert "2511" in say("list")[1]


def test_verified_entries_are_shown_until_they_go_stale(say: Say, policy: Path) -> None:
    day = today(load_market(policy))
    for name in standings(policy, day):
        assert say("verify", policy, name, "--by", "A. Name, partner")[0] == 0
    market = load_market(policy)
    assert say("check", policy)[:2] == (0, f"{policy}: 2 of 2 helplines verified, 3 of 3 card texts\n")
    for days, n_shown, code in ((0, 2, 0), (90, 2, 0), (91, 0, 1)):
        later = day + timedelta(days)
        assert len(shown_helplines(market, later)) == n_shown
        assert say("check", policy, "--on", later.isoformat())[0] == code
    assert "onde: goes stale in 10 days" in say("check", policy, "--on", str(day + timedelta(80)))[1]
    assert "onde: verified too long ago" in say("check", policy, "--on", str(day + timedelta(91)))[1]
    assert set(standings(policy, day - timedelta(1)).values()) == {"not yet"}


def test_only_the_two_lines_of_an_entry_change_and_the_file_keeps_its_rights(say: Say, policy: Path) -> None:
    policy.chmod(0o640)
    before = policy.read_text("utf-8").splitlines()
    code, out, _ = say("verify", policy, "onde", "--by", "A. Name, partner")
    after = policy.read_text("utf-8").splitlines()
    assert (code, "restart the service" in out) == (0, True)
    assert [line for line in after if line not in before] == [
        f"    verified_at: {today(load_market(policy))}",
        '    verified_by: "A. Name, partner"',
    ]
    assert len(after) == len(before) and policy.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in policy.parent.iterdir()] == ["ours.yaml"]


def test_what_is_edited_is_no_longer_verified(say: Say, policy: Path) -> None:
    day = today(load_market(policy))
    for name in ("onde", "card.crisis"):
        say("verify", policy, name, "--by", "A. Name")
    assert say("edit", policy, "onde", "--contact", "0800 00 47 47", "--hours", "9-17", "--text", "fr=Écoute")[0] == 0
    assert say("edit", policy, "card.crisis", "--text", "fr=Appelle « le 15 » : # maintenant")[0] == 0
    market = load_market(policy)
    line = market.helplines[0]
    assert (line.contact, line.hours, line.name["fr"], line.verified_at) == ("0800 00 47 47", "9-17", "Écoute", None)
    assert line.name["ar"] and market.cards.crisis.text["fr"] == "Appelle « le 15 » : # maintenant"
    assert (standings(policy, day)["onde"], standings(policy, day)["card.crisis"]) == ("never", "never")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("verify", "{}", "nowhere", "--by", "A"), "found no entry 'nowhere', expected one of onde"),
        (("verify", "{}", "onde", "--by", " "), "--by: found no name"),
        (("verify", "{}", "onde", "--by", "A\nB: c"), "--by: found no name"),
        (("verify", "{}", "onde", "--by", "A", "--on", "2999-01-01"), "--on: found 2999-01-01, expected a day of"),
        (("verify", "{}", "onde", "--by", "A", "--on", "2001-01-01"), "--on: found 2001-01-01, expected a day of"),
        (("verify", "{}", "onde", "--by", "A", "--on", "yesterday"), "--on: found 'yesterday'"),
        (("edit", "{}", "onde"), "found nothing to change"),
        (("edit", "{}", "card.crisis", "--contact", "15"), "expected --text for a card"),
        (("edit", "{}", "onde", "--text", "Écoute"), "expected LANGUAGE=TEXT"),
        (("check", "nowhere.yaml"), "nowhere.yaml"),
    ],
)
def test_what_cannot_be_written_is_a_sentence_and_leaves_the_file(
    say: Say, policy: Path, arguments: tuple[str, ...], said: str
) -> None:
    before = policy.read_bytes()
    code, _, err = say(*(argument.format(policy) for argument in arguments))
    assert (code, said in " ".join(err.split())) == (2, True), err
    assert policy.read_bytes() == before


def test_a_market_without_helplines_is_a_no_too(say: Say) -> None:
    code, out, _ = say("check", ROOT / "policies" / "strict.yaml")
    assert code == 1 and "0 of 0 helplines verified" in out
