"""What the pages of one world are worth, how personal, near and in whose languages they are: measured and printed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from worth_pages import Served, completion_rate, popularity, popularity_of_groups
from worth_worlds import JudgedWorld

from eval.offline.intervals import Estimate, estimate, resample
from eval.simulation.worth import (
    PAGE_SIZE,
    best_page,
    distressed_watch,
    gain_estimate,
    offer_to,
    overlap,
    overlap_across,
    padded,
    page_counts,
    page_worth,
    strangers,
    strangers_worth,
)
from recsys import metrics
from recsys.types import Ids, Mask, Pages, Reals
from recsys.vocabulary import LANGUAGES

READERS: Final[Mapping[str, tuple[str, ...]]] = {
    "French first": ("fr",),
    "read Arabizi": ("ary-Latn",),
    "read Amazigh": ("zgh", "zgh-Latn"),
}
"""Groups of readers, and the languages whose share of their pages is looked at."""

RANKINGS: Final = ("popularity", "popularity by first language", "completion rate", "engine", "best")
"""Beside random pages, of which only the mean is known."""

Numbers = dict[str, Any]
"""Results as they go into the JSON file: texts, numbers, and `Estimate` as a mapping."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Compared:
    """
    The pages of q people by each ranking, and what they are worth to them.

    Shapes, by ranking: `pages` (q, 20), `worth` (q,), `strangers` (q,) the worth of the pages of others of one kind.
    `supply` (q, n_items): what each person could be shown of labelled R0 and R1 and has not seen.
    """

    served: Served
    pages: Mapping[str, Pages]
    worth: Mapping[str, Reals]
    strangers: Mapping[str, Reals]
    supply: Mask


def compare(world: JudgedWorld, served: Served) -> Compared:
    """The engine's pages beside those of the rankings it is compared with, over the same people and videos."""
    people = served.people
    by_language = popularity_of_groups(world, [first for first, _ in world.kinds])
    popular, rate = popularity(world), completion_rate(world)
    others = strangers([world.kinds[person] for person in people], np.random.default_rng([world.params.seed, 11]))
    pages = {name: np.empty((len(people), PAGE_SIZE), np.int32) for name in RANKINGS}
    pages["engine"] = served.pages
    supply, random = np.empty_like(served.is_eligible), np.empty(len(people))
    for place, person in enumerate(people.tolist()):
        offer = offer_to(world.truth, person, world.counted, served.is_eligible[place])
        supply[place], random[place] = offer.is_open, offer.random_mean
        scores = (popular, by_language[person], rate, offer.logit)
        for name, ranking in zip((name for name in RANKINGS if name != "engine"), scores, strict=True):
            pages[name][place] = padded(best_page(offer, ranking))
    worth = {"random": random, **{name: np.empty(len(people)) for name in RANKINGS}}
    compared = {name: np.empty(len(people)) for name in RANKINGS}
    for place, person in enumerate(people.tolist()):  # every page is known now
        offer = offer_to(world.truth, person, world.counted, served.is_eligible[place])
        for name in RANKINGS:
            worth[name][place] = page_worth(offer, pages[name][place])
            compared[name][place] = strangers_worth(offer, pages[name], others[place])
    return Compared(served=served, pages=pages, worth=worth, strangers=compared, supply=supply)


def measure(world: JudgedWorld, compared: Compared) -> Numbers:
    """Every number of a world, by table."""
    return {
        "rankings": _rankings(world, compared),
        "languages": _languages(world, compared),
        "locality": _locality(world, compared),
        "safety": _safety(world, compared),
    }


def _rankings(world: JudgedWorld, compared: Compared) -> Numbers:
    worth, n_items = compared.worth, len(world.items)
    resamples = resample(len(worth["random"]), np.random.default_rng([world.params.seed, 12]))
    numbers: Numbers = {"random": {"worth": metrics.mean(worth["random"]), "gain": 0.0}}
    for name, pages in compared.pages.items():
        counts = np.sort(page_counts(pages, n_items))[::-1] / len(pages)
        numbers[name] = {
            "worth": metrics.mean(worth[name]),
            "gain": gain_estimate(worth[name], worth["random"], worth["best"], resamples),
            "own_less_stranger": estimate(worth[name] - compared.strangers[name], resamples),
            "overlap": overlap(pages, n_items),
            "most_shown": float(counts[0]),
            "five_most_shown": float(counts[:5].mean()),
        }
    return numbers


def newcomers(world: JudgedWorld, compared: Compared) -> Numbers:
    """The same people without a history, and how alike they are shown to be across regions."""
    numbers = _rankings(world, compared)
    people = compared.served.people.tolist()
    alike = [(world.languages[person], world.kinds[person][1]) for person in people]
    regions = [world.users["region"][person] for person in people]
    for name, pages in compared.pages.items():
        numbers[name]["overlap_across_regions"] = overlap_across(pages, alike, regions)
    return numbers


# --- shares of a page ---


def _share(has_property: Mask, pages: Pages, members: Mask) -> float:
    """The mean share of the members' pages. `has_property` (n_items,) or (q, n_items) by person."""
    of_slot = has_property if has_property.ndim == 1 else np.take_along_axis(has_property, np.maximum(pages, 0), axis=1)
    of_members = of_slot if of_slot.ndim == 1 else of_slot[members]
    return metrics.mean(metrics.share(of_members, pages[members])) if members.any() else float("nan")


def _of_supply(has_property: Mask, supply: Mask, members: Mask) -> float:
    """The mean share of what the members could be shown."""
    if not members.any():
        return float("nan")
    shares = (supply & has_property)[members].sum(axis=1) / np.maximum(supply[members].sum(axis=1), 1)
    return float(shares.mean())


def _of_completes(world: JudgedWorld, people: Ids, has_property: Mask, members: Mask) -> float:
    """The share of what the members watched to the end in the log; labelled R0 and R1 alone."""
    places = np.full(len(world.users), -1)
    places[people] = np.arange(len(people))
    watched = world.impressions.filter("is_complete").select("person", "row").to_numpy()
    person, row = places[watched[:, 0]], watched[:, 1]
    is_theirs = (person >= 0) & world.counted[row] & members[person]
    person, row = person[is_theirs], row[is_theirs]
    hits = has_property[row] if has_property.ndim == 1 else has_property[person, row]
    return float(hits.mean()) if len(row) else float("nan")


def _shares(world: JudgedWorld, compared: Compared, has_property: Mask, members: Mask) -> Numbers:
    of_rankings = {name: _share(has_property, compared.pages[name], members) for name in ("engine", "popularity")}
    return {
        "people": int(members.sum()),
        **of_rankings,
        "truth": _share(has_property, compared.pages["best"], members),
        "supply": _of_supply(has_property, compared.supply, members),
        "completes": _of_completes(world, compared.served.people, has_property, members),
    }


def _languages(world: JudgedWorld, compared: Compared) -> Numbers:
    spoken = np.array(LANGUAGES)[world.truth.items.language]
    numbers: Numbers = {}
    for name, languages in READERS.items():
        read = [world.languages[person] for person in compared.served.people]
        if name == "French first":
            members = np.array([bool(known) and known[0] in languages for known in read])
        else:
            members = np.array([any(language in languages for language in known) for known in read])
        numbers[name] = _shares(world, compared, np.isin(spoken, languages), members)
    return numbers


def _locality(world: JudgedWorld, compared: Compared) -> Numbers:
    people = compared.served.people
    everybody = np.ones(len(people), np.bool_)
    numbers = {"everybody": _shares(world, compared, compared.served.is_local, everybody)}
    abroad = world.users["country"].fill_null("").to_numpy()[people] != "MA"
    return {**numbers, "live abroad": _shares(world, compared, compared.served.is_local, abroad)}


def _safety(world: JudgedWorld, compared: Compared) -> Numbers:
    """R1 and R2 on a page, and watch fractions with the pulls of distress on; unlabelled videos by their true tier."""
    people = compared.served.people.astype(np.int64)
    distress = world.truth.people.distress[people]
    groups: dict[str, Mask] = {
        "everybody": np.ones(len(people), np.bool_),
        "the most distressed third": distress >= np.quantile(distress, 2 / 3),
    }
    numbers: Numbers = {}
    for group, members in groups.items():
        for name in ("engine", "popularity"):
            pages = compared.pages[name]
            watched = [distressed_watch(world.truth, int(people[n]), pages[n]) for n in np.flatnonzero(members)]
            numbers[f"{group}, {name}"] = {
                "r1_places": _places(world.truth.items.tier == 1, pages, members),
                "r2_places": _places(world.truth.items.tier == 2, pages, members),
                "empty_places": float((pages[members] == metrics.EMPTY).sum(axis=1).mean()),
                "watch_with_pulls": float(np.mean(watched)) / PAGE_SIZE,
            }
    return numbers


def _places(has_property: Mask, pages: Pages, members: Mask) -> float:
    shown = pages[members]
    return float((has_property[np.maximum(shown, 0)] & (shown != metrics.EMPTY)).sum(axis=1).mean())


# --- printing ---


def line(name: str, cells: Sequence[str]) -> str:
    """A row of a table."""
    return f"{name:36s}" + "".join(f"{cell:>20s}" for cell in cells)


def number(value: float | None, digits: int = 3) -> str:
    """A number without its leading zero, as the tables of docs have it."""
    if value is None or not np.isfinite(value):
        return "-"
    return f"{value:.{digits}f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.{digits}f}"


def with_interval(value: Estimate | float | None, digits: int = 3) -> str:
    """An estimate with its interval."""
    if not isinstance(value, Estimate):
        return number(value, digits)
    return f"{number(value.mean, digits)} {number(value.low, digits)}:{number(value.high, digits)}"


def percent(value: Estimate | float) -> str:
    """A share of what is attainable, with its interval, in per cent."""
    if not isinstance(value, Estimate):
        return f"{100 * value:.0f} %"
    if value.mean is None or value.low is None or value.high is None:
        return "-"
    return f"{100 * value.mean:.0f} % ({100 * value.low:.0f}-{100 * value.high:.0f})"


def print_rankings(title: str, numbers: Numbers) -> None:
    """One row for each ranking."""
    columns = ["worth", "gain", "own-stranger", "overlap of 20", "most shown", "five most"]
    is_across = any("overlap_across_regions" in row for row in numbers.values())
    print(line(title, [*columns, *(["other region"] if is_across else [])]))
    for name, row in numbers.items():
        print(
            line(
                name,
                [
                    number(row["worth"]),
                    percent(row["gain"]),
                    with_interval(row.get("own_less_stranger")),
                    number(row.get("overlap"), 1),
                    number(row.get("most_shown"), 2),
                    number(row.get("five_most_shown"), 2),
                    *([number(row.get("overlap_across_regions"), 1)] if is_across else []),
                ],
            )
        )


def print_groups(title: str, numbers: Numbers) -> None:
    """One row for each group, one column for each number."""
    columns = list(next(iter(numbers.values())))
    print(line(title, [column.replace("_", " ") for column in columns]))
    for name, row in numbers.items():
        print(
            line(
                name, [str(row[column]) if isinstance(row[column], int) else number(row[column]) for column in columns]
            )
        )


def costs(random: Reals, best: Reals, whole: Reals, without: Mapping[str, Reals], seed: int) -> Numbers:
    """What each rule costs: how much worth and gain its absence adds, over the same people."""
    resamples = resample(len(whole), np.random.default_rng([seed, 13]))
    attainable = metrics.mean(best - random)
    numbers: Numbers = {}
    for name, worth in without.items():
        added = estimate(worth - whole, resamples)
        numbers[name] = {"worth": added, "gain": (added.mean or 0.0) / attainable}
    return numbers


def print_costs(numbers: Numbers) -> None:
    """One row for each rule."""
    print(line("what a rule costs", ["worth", "points of gain"]))
    for name, row in numbers.items():
        print(line(name, [with_interval(row["worth"], 4), f"{100 * row['gain']:.1f}"]))
