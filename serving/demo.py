"""
The demo: the real service on a free port, called over HTTP. Its clock is fixed, so every run prints the same.
"""

import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Protocol
from urllib.parse import quote
from urllib.request import Request, urlopen
from zoneinfo import ZoneInfo

import msgspec
import polars as pl
from rich.console import Console

from recsys.clock import MINUTE, Millis, from_text
from recsys.console import console, isolated, say
from recsys.errors import StageError
from recsys.extras import require_extra
from recsys.messages import FeedResponse
from recsys.policy.checks import load_market
from recsys.policy.compiled import CompiledPolicy
from recsys.policy.nights import local_time
from recsys.policy.schema import Market
from recsys.resources import DEFAULT_POLICY
from recsys.types import Fields
from serving.commands.page_table import (
    LANGUAGE_NAMES,
    page_table,
    place,
    remaining_line,
    shared_lines,
    shortfall_lines,
    summary_line,
)
from serving.run import run_in_thread
from serving.settings import Settings

NOW: Final = "2026-11-20T18:30:00Z"
"""The time of the demo: an evening in Morocco, just after the log of the demo world ends."""

_PAGE_SIZE: Final = 10
_N_RISKY: Final = 30
_N_CALM: Final = 22
_VISITOR: Final = {
    "age_band": "18+", "age_source": "verified", "country": "MA", "region": "MA-06", "languages": ["ary", "ar", "fr"],
}  # fmt: skip


@dataclass(slots=True)
class Clock:
    """The clock of the service. Only `wait` moves it."""

    at: Millis = field(default_factory=lambda: from_text(NOW))

    def __call__(self) -> Millis:
        return self.at

    def wait(self, minutes: int) -> None:
        """Move the clock on."""
        self.at += minutes * MINUTE


class Person(Protocol):
    """A user of the demo market. `who` introduces them."""

    @property
    def user_id(self) -> str: ...
    @property
    def who(self) -> str: ...
    @property
    def age_band(self) -> str: ...
    @property
    def languages(self) -> tuple[str, ...]: ...
    @property
    def region(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What every scene of the demo uses."""

    url: str
    clock: Clock
    market: Market
    out: Console
    items: pl.DataFrame
    people: Sequence[Person]  # in this order: an adult, a minor, a parent, others
    glosses: Mapping[str, str]  # what a title says in English, by item

    def ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> bytes:
        """One call over HTTP. Raises `urllib.error.HTTPError`, which is an OSError, for a refusal."""
        data = None if body is None else msgspec.json.encode(body)
        headers = {"Content-Type": "application/json"} if data else {}
        with urlopen(Request(self.url + path, data, headers, method=method), timeout=60) as answer:
            read: bytes = answer.read()
            return read

    def feed(self, user_id: str, request_id: str, **more: object) -> FeedResponse:
        """One page."""
        body = {"user_id": user_id, "request_id": request_id, "size": _PAGE_SIZE, **more}
        return msgspec.json.decode(self.ask("POST", "/v1/feed", body), type=FeedResponse)

    def item(self, item_id: str) -> Fields:
        """The fields of an item in the live catalogue."""
        fields: Fields = msgspec.json.decode(self.ask("GET", f"/v1/items/{quote(item_id, safe='')}"))
        return fields

    def title(self, item_id: str) -> str:
        """An item's title for a line of text, with its English where the demo data has it."""
        english = self.glosses.get(item_id)
        title = isolated(str(self.item(item_id)["title"]), on_terminal=self.out.is_terminal)
        return f"{title} ({english})" if english else title

    def say(self, text: str = "") -> None:
        """A line."""
        self.out.print(text)

    def head(self, text: str) -> None:
        """A heading."""
        self.out.print()
        self.out.print(text, style="bold")


def prepare(folder: Path, command: Callable[..., Sequence[str]]) -> None:
    """
    Make the demo data and the artifact in `folder` unless they exist. `command` completes a `sanad` command line.

    Each runs in a process of its own, because training imports torch and the service must not.
    """
    data, artifact = folder / "data", folder / "artifact"
    if not (artifact / "manifest.json").is_file():
        require_extra("train", "sanad demo")
    folder.mkdir(parents=True, exist_ok=True)
    if not data.is_dir():
        say(f"Making the demo data in {data} (seconds)")
        with _beside(data) as half:
            _run(command("world", str(half)))
    if not (artifact / "manifest.json").is_file():
        say(f"Training {artifact}; encoding 3,000 titles takes a minute or two the first time")
        _run(command("train", str(data), "--out", str(artifact), "--at", NOW))


@contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """A folder that gets its name when it is complete."""
    half = folder.with_name(f".{folder.name}.half")
    shutil.rmtree(half, ignore_errors=True)  # left by a run that was stopped
    yield half
    half.replace(folder)


def _run(command: Sequence[str]) -> None:
    process = subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
    if process.returncode:
        raise StageError(f"'{' '.join(command[2:])}' ended with code {process.returncode}; see its error above")


def show(folder: Path, people: Sequence[Person], out: Console | None = None) -> None:
    """Play all scenes over the artifact and the data in `folder`. Each of `people` gets a page."""
    clock, screen = Clock(), out or console()
    with TemporaryDirectory(prefix="sanad-demo-") as state:
        settings = Settings(artifact=folder / "artifact", state=Path(state) / "state.db", port=0)
        with run_in_thread(settings, clock=clock) as url:
            items = pl.read_parquet(folder / "data" / "items.parquet")
            stage = Stage(
                url=url,
                clock=clock,
                market=load_market(DEFAULT_POLICY),
                out=screen,
                items=items,
                glosses=_glosses(items),
                people=(*people, *_tamazight_readers(folder / "data")),
            )
            for scene in (_opening, _people, _caps, _takedown, _event):
                scene(stage)
    screen.print("\nThe service is stopped. Everybody and everything above is made up.")


def _glosses(items: pl.DataFrame) -> Mapping[str, str]:
    """The English of titles, which no model and no service reads; none in data that was made before."""
    if "gloss" not in items.columns:
        return {}
    return dict(items.filter(pl.col("gloss").is_not_null()).select("item_id", "gloss").iter_rows())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reader:
    """A person of the data."""

    user_id: str
    who: str
    age_band: str
    languages: tuple[str, ...]
    region: str


def _tamazight_readers(data: Path) -> Sequence[Person]:
    """The most active adult whose first language is Tamazight; nobody where there is none."""
    events = pl.scan_parquet(data / "events.parquet").group_by("user_id").len()
    users = pl.scan_parquet(data / "users.parquet").filter(
        pl.col("languages").list.first().str.starts_with("zgh"), pl.col("consent"), pl.col("age_band") == "18+"
    )
    best = users.join(events, on="user_id").sort("len", "user_id", descending=[True, False]).head(1).collect()
    return [
        _Reader(
            user_id=row["user_id"], who="an adult who reads Tamazight first", age_band=row["age_band"],
            languages=tuple(row["languages"]), region=row["region"] or "",
        )
        for row in best.iter_rows(named=True)
    ]  # fmt: skip


def _opening(stage: Stage) -> None:
    zone = local_time(stage.clock(), _zone(stage.market))
    stage.say(f"Sanad serves a made-up market. Its clock stands at {zone:%Y-%m-%d %H:%M} in Morocco.")
    stage.say("Tiers: R0 is fine for everybody, R1 is heavy but legitimate, R2 is capped.")
    stage.say("R3 and R4 are never on a page. A star marks what is local to the person.")


def _people(stage: Stage) -> None:
    pages = {}
    for person in stage.people:
        page = pages[person.user_id] = stage.feed(person.user_id, f"demo {person.user_id}")
        stage.head(f"{person.who[0].upper()}{person.who[1:]} ({person.user_id})")
        stage.say(_profile(person, stage.market))
        _show_page(stage, page)
    stage.head("How far these pages differ")
    for line in shared_lines(pages):
        stage.say(line)


def _profile(person: Person, market: Market) -> str:
    home = place({"region": person.region, "country": market.market}, market)
    languages = ", ".join(LANGUAGE_NAMES.get(name, name) for name in person.languages)
    return f"Age {person.age_band}, lives in {home}, reads {languages}."


def _show_page(stage: Stage, page: FeedResponse) -> None:
    catalogue = {
        item.item_id: {**stage.item(item.item_id), "gloss": stage.glosses.get(item.item_id)} for item in page.items
    }
    stage.out.print(page_table(page, catalogue, stage.market, stage.out))
    stage.say(summary_line(page))
    _explain(stage, page)


def _explain(stage: Stage, page: FeedResponse) -> None:
    for line in shortfall_lines(page):
        stage.say(line)


def _caps(stage: Stage) -> None:
    """A new user, and candidates with thirty risky videos among them."""
    stage.ask("PUT", "/v1/users/visitor", _VISITOR)
    risky = _ids(stage, pl.col("risk_tier") == "R2", _N_RISKY)
    calm = _ids(stage, (pl.col("risk_tier") == "R0") & pl.col("topics").list.contains("S3"), _N_CALM)
    stage.head(f"A cap at work: somebody new, an adult, offered {len(risky)} R2 and {len(calm)} calm videos")
    page = stage.feed("visitor", "demo cap 1", size=20, candidate_ids=risky + calm)
    places = [str(item.position) for item in page.items if item.tier == "R2"]
    stage.say(summary_line(page))
    stage.say(f"R2 stands at {' and '.join(places)} only; {len(risky) - len(places)} were kept back.")
    stage.say(f"{remaining_line(page, 'R2')}.")
    _explain(stage, page)
    stage.clock.wait(1)
    stage.head(f"A minute later the same {len(risky)} R2 videos and nothing else")
    page = stage.feed("visitor", "demo cap 2", size=20, candidate_ids=risky)
    stage.say(summary_line(page))
    _explain(stage, page)
    stage.say(f"{remaining_line(page, 'R2')}.")


def _ids(stage: Stage, kind: pl.Expr, number: int) -> list[str]:
    """The first items of a kind in the languages of the visitor, each title once."""
    speech = pl.coalesce("dialect", "language").is_in(_VISITOR["languages"])
    items = stage.items.filter(kind & speech & ~pl.col("is_hidden")).sort("item_id").unique("title", keep="first")
    return items.sort("item_id")["item_id"].head(number).to_list()


def _takedown(stage: Stage) -> None:
    user = stage.people[2].user_id
    before = stage.feed(user, "demo preview", dry_run=True)
    gone = before.items[0].item_id
    stage.head(f"A takedown binds the next page ({user})")
    stage.say(f"About to come first: {gone}\n  {stage.title(gone)}")
    stage.ask("DELETE", f"/v1/items/{gone}")
    stage.say(f"DELETE /v1/items/{gone}")
    after = stage.feed(user, "demo takedown")
    first = after.items[0].item_id
    stage.say(f"Now comes first: {first}\n  {stage.title(first)}")
    stage.say(f"{gone} is on the page: {'yes' if any(item.item_id == gone for item in after.items) else 'no'}")


def _event(stage: Stage) -> None:
    """The same request before and after an event. It reserves nothing, so only the event makes a difference."""
    stage.clock.wait(1)
    user = stage.people[0].user_id
    before = stage.feed(user, "demo taste", size=20, dry_run=True)
    item = next(item for item in before.items if {"cf", "content", "affinity"} & set(item.sources))
    event = {"event_id": "demo-1", "user_id": user, "item_id": item.item_id, "kind": "not_interested"}
    stage.head(f"An event acts on the next feed ({user})")
    stage.say(f"Not interested: {item.item_id}\n  {stage.title(item.item_id)}")
    stage.ask("POST", "/v1/events", {"events": [event]})
    after = stage.feed(user, "demo taste", size=20, dry_run=True)
    old_ids, new_ids = ([item.item_id for item in page.items] for page in (before, after))
    removed, added = [i for i in old_ids if i not in new_ids], [i for i in new_ids if i not in old_ids]
    stage.say(f"{len(removed)} of {len(before.items)} videos made way for others:")
    for old, new in zip(removed[:3], added[:3], strict=False):
        stage.say(f"  - {stage.title(old)}\n  + {stage.title(new)}")


def _zone(market: Market) -> ZoneInfo:
    return CompiledPolicy(market).zone
