"""`sanad helplines`: who verified the helplines and the card texts of a market, and until when that holds."""

import os
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from recsys.console import Json, console, isolated, present, print_json
from recsys.errors import ConfigError
from recsys.resources import DEFAULT_POLICY, policy_file
from serving.commands.options import PolicyFile

if TYPE_CHECKING:
    from recsys.policy.schema import Market

app = typer.Typer(
    no_args_is_help=True,
    help="List and verify the helplines and the card texts of a policy.",
    epilog="Example: sanad helplines check",
)
_SOON: Final = 14  # days before an entry goes stale from which 'check' says so
OwnPolicy = Annotated[Path, typer.Argument(metavar="FILE", parser=policy_file, help="The policy file to write into.")]
EntryId = Annotated[str, typer.Argument(metavar="ID", help="The id that 'sanad helplines list' prints.")]
Today = Annotated[str | None, typer.Option("--on", metavar="DATE", help="A day such as 2026-11-28. Default: today.")]


@app.command("list", epilog="Example: sanad helplines list policies/morocco.yaml")
def list_entries(policy: PolicyFile = DEFAULT_POLICY, on: Today = None, as_json: Json = False) -> None:
    """List every helpline and card text with its verification."""
    from rich.table import Table

    from recsys.policy.checks import load_market
    from recsys.safety.helplines import verifications

    market = load_market(policy)
    entries = verifications(market, _day(market, on))
    if as_json:
        print_json([asdict(entry) for entry in entries])
        return
    contacts = {line.id: f"{line.contact} ({line.hours})" for line in market.helplines}
    table = Table(box=None, pad_edge=False)
    for name in ("id", "contact", "verified on", "by", "counts as"):
        table.add_column(name, overflow="fold")
    for entry in entries:
        by = isolated(entry.verified_by) if entry.verified_by else ""
        table.add_row(entry.id, contacts.get(entry.id, ""), str(entry.verified_at or ""), by, entry.standing)
    console().print(table)


@app.command(epilog="Example: sanad helplines check policies/morocco.yaml")
def check(policy: PolicyFile = DEFAULT_POLICY, on: Today = None, as_json: Json = False) -> None:
    """
    Check whether every helpline and card text was verified lately.

    Exit code 0: all were; 1: one was not, or there is no helpline at all.
    """
    from recsys.policy.checks import load_market
    from recsys.safety.helplines import summary, verifications

    market = load_market(policy)
    entries = verifications(market, _day(market, on))
    missing = [entry for entry in entries if entry.standing != "verified"]
    is_fine = bool(market.helplines) and not missing
    if as_json:
        print_json({"ok": is_fine, "summary": summary(entries), "entries": [asdict(entry) for entry in entries]})
    else:
        typer.echo(f"{policy}: {summary(entries)}")
        for entry in missing:
            typer.echo(f"  {entry.id}: {_PROBLEMS[entry.standing]}")
        for entry in entries:
            if entry.standing == "verified" and entry.days_left <= _SOON:
                typer.echo(f"  {entry.id}: goes stale in {entry.days_left} days")
    raise typer.Exit(0 if is_fine else 1)


_PROBLEMS: Final = {
    "never": "nobody verified it",
    "stale": "verified too long ago",
    "not yet": "its date of verification is still to come",
}


@app.command(epilog='Example: sanad helplines verify my-policy.yaml onde --by "A. Name, partner"')
def verify(
    policy: OwnPolicy,
    entry_id: EntryId,
    by: Annotated[str, typer.Option(help="Who called the helpline, or read the text: name and role.")],
    on: Today = None,
    as_json: Json = False,
) -> None:
    """
    Write into the policy file that an entry was verified. Nothing else in the file changes.

    Call a helpline before you verify it. Let a native speaker and a clinician read a text.

    A running service reads the file when it starts: restart it.
    """
    from recsys.policy.checks import load_market

    market = load_market(policy)
    today, day = _day(market, None), _day(market, on)
    if not by.strip() or not by.isprintable():
        raise ConfigError("--by: found no name, expected who verified the entry, as one line")
    if not 0 <= (today - day).days <= market.stale_days:
        raise ConfigError(f"--on: found {day}, expected a day of the last {market.stale_days}, up to {today}")
    _write(policy, market, entry_id, {"verified_at": day, "verified_by": by.strip()}, {})
    if as_json:
        print_json({"file": str(policy), "entry": entry_id, "verified_at": day, "days": market.stale_days})
        return
    typer.echo(f"{policy}: {entry_id} counts as verified for {market.stale_days} days from {day}; restart the service")


@app.command(epilog="Example: sanad helplines edit my-policy.yaml onde --contact 2511 --hours 24/7")
def edit(
    policy: OwnPolicy,
    entry_id: EntryId,
    contact: Annotated[str | None, typer.Option(help="The number or address of a helpline.")] = None,
    hours: Annotated[str | None, typer.Option(help="When a helpline answers.")] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(metavar="LANGUAGE=TEXT", help="The name of a helpline, or the text of a card. Repeatable."),
    ] = None,
    as_json: Json = False,
) -> None:
    """
    Change a helpline or the text of a card. What was changed is no longer verified.

    A helpline stays hidden until somebody verifies it again. A card is always shown.
    """
    from recsys.policy.checks import load_market

    values: dict[str, str | date | None] = {
        name: value for name, value in (("contact", contact), ("hours", hours)) if value is not None
    }
    texts = dict(_language_and_text(pair) for pair in text or ())
    if not values and not texts:
        raise ConfigError("found nothing to change, expected --contact, --hours or --text")
    if values and entry_id.startswith("card."):
        raise ConfigError(f"{entry_id}: found --contact or --hours, expected --text for a card")
    _write(policy, load_market(policy), entry_id, {**values, "verified_at": None, "verified_by": None}, texts)
    if as_json:
        print_json({"file": str(policy), "entry": entry_id, "verified_at": None})
        return
    typer.echo(f"{policy}: {entry_id} is changed and no longer verified")


def _language_and_text(pair: str) -> tuple[str, str]:
    language, is_pair, text = pair.partition("=")
    if not is_pair or not language.strip() or not text.strip():
        raise ConfigError(f"--text: found {pair!r}, expected LANGUAGE=TEXT, such as fr='Besoin d en parler ?'")
    return language.strip(), text.strip()


def _day(market: "Market", on: str | None) -> date:
    """The day that an option names, else today by the market's clock."""
    from recsys.clock import zone
    from recsys.policy.nights import local_time

    if on is None:
        return local_time(present(None), zone(market.time_zone)).date()
    try:
        return date.fromisoformat(on)
    except ValueError:
        raise ConfigError(f"--on: found {on!r}, expected a day such as 2026-11-28") from None


def _write(
    policy: Path, market: "Market", entry_id: str, values: dict[str, str | date | None], texts: dict[str, str]
) -> None:
    """
    The file with these values of one entry, in place of the old one at once. Raises ConfigError, and leaves the file
    as it is, when it would not be a policy any more.
    """
    from recsys.policy.checks import market_of
    from recsys.policy.edit import with_values

    path, is_card = _place(market, entry_id)
    target = policy.resolve()
    edited = with_values(target.read_bytes().decode(), path, values)
    if texts:
        edited = with_values(edited, [*path, "text" if is_card else "name"], dict(texts))
    market_of(edited)
    beside = target.with_name(f"{target.name}.{os.getpid()}")
    try:
        beside.write_bytes(edited.encode())
        beside.chmod(target.stat().st_mode & 0o777)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def _place(market: "Market", entry_id: str) -> tuple[list[str | int], bool]:
    """Where an entry stands in the file, and whether it is a card's. Raises ConfigError for an unknown id."""
    from recsys.safety.helplines import CARD_NAMES

    names = [line.id for line in market.helplines]
    if entry_id in names:
        return ["helplines", names.index(entry_id)], False
    if entry_id.startswith("card.") and entry_id.removeprefix("card.") in CARD_NAMES:
        return ["cards", entry_id.removeprefix("card.")], True
    known = ", ".join([*names, *(f"card.{name}" for name in CARD_NAMES)])
    raise ConfigError(f"found no entry {entry_id!r}, expected one of {known}")
