"""The independent recount: it finds every planted violation, and none in what the specification allows."""

from collections.abc import Callable

import pytest

from eval.simulation.closed_loop import Report
from eval.simulation.recount import CountedDelivery, caps, longest_streak, most_in_any_run, recount
from recsys.clock import DAY, HOUR, MINUTE
from recsys.messages import FeedItem, Locality
from recsys.policy.schema import Market
from recsys.types import Fields

START = 1_790_000_000_000
NEAR = Locality(score=0.8, match="region", source="partner", confidence=0.9)


def item(n: int, tier: str = "R0", **fields: object) -> FeedItem:
    defaults: Fields = {
        "item_id": f"v{n}", "creator_id": f"c{n}", "position": 1, "score": 1.0, "sources": [], "tier": tier,
        "family": "despair" if tier == "R2" else None, "topics": [], "language": None, "locality": NEAR, "reasons": [],
        "is_exploration": False, "propensity": 1.0, "tracking_token": "",
    }  # fmt: skip
    return FeedItem(**defaults | fields)


def shown(*items: FeedItem, every: int = MINUTE, **fields: object) -> list[CountedDelivery]:
    defaults = {"session": 1, "band": "18+", "level": 0, "is_night": False, "page": 0} | fields
    return [CountedDelivery(at=START + n * every, item=item_, **defaults) for n, item_ in enumerate(items)]


def feed(tiers: str, first: int = 0, **fields: object) -> list[FeedItem]:
    """A word such as `0020` as items; R2 families take turns, so that no family cap binds first."""
    families = ("despair", "body", "aggression", "self_diagnosis")
    n_r2 = 0
    items = []
    for n, letter in enumerate(tiers, start=first):
        family = families[n_r2 % 4] if letter == "2" else None
        n_r2 += letter == "2"
        items.append(item(n, f"R{letter}", family=family, **fields))
    return items


def _fields(delivery: CountedDelivery) -> Fields:
    return {name: getattr(delivery, name) for name in CountedDelivery.__slots__}


@pytest.fixture
def problems(morocco: Market) -> Callable[[list[CountedDelivery]], list[str]]:
    return lambda history: recount(history, morocco, "x").violations


def test_what_the_table_allows_is_no_violation(problems) -> None:
    assert problems(shown(*feed("200000020000000000002"))) == []


def test_reports_of_what_had_left_the_memory_take_places_in_it(morocco: Market) -> None:
    """1,990 others were delivered since: 9 reports more leave the item in the newest 2,000, 10 push it out."""
    history = shown(item(0), *(item(n) for n in range(1, 1_991)), item(0), every=1)
    reports = [Report(at=START + 1_000, after_pages=0, kind="like", item_id=f"old-{n}") for n in range(10)]
    again = "x: item v0 again after 2000 seen"
    assert again in recount(history, morocco, "x", reports[:9]).violations
    assert not any("again" in found for found in recount(history, morocco, "x", reports).violations)
    unseen = [Report(at=START + 1_000, after_pages=0, kind="not_interested", item_id=f"old-{n}") for n in range(10)]
    assert "x: item v0 again after 1991 seen" in recount(history, morocco, "x", unseen).violations


def test_searches_of_one_item_push_nothing_out_of_the_memory(problems) -> None:
    """Two thousand deliveries of one item are one item seen."""
    searches = [
        CountedDelivery(**{**_fields(shown(item(1), is_search=True)[0]), "at": START + n}) for n in range(2_100)
    ]
    again = shown(item(0)) + searches + shown(item(0), every=0)
    again[-1] = CountedDelivery(**{**_fields(again[-1]), "at": START + 3_000})
    assert "x: item v0 again after 2 seen" in problems(again)


def test_a_search_may_show_again_what_was_seen(problems) -> None:
    assert problems(shown(item(0), item(1)) + shown(item(0), is_search=True)) == []


@pytest.mark.parametrize(
    ("history", "sentence"),
    [
        (shown(*feed("200000020000002")), "R2 last_20 3 > 2"),
        (shown(*feed("2000002")), "R2 gap 5 < 6"),
        (shown(*feed(("2" + 19 * "0") * 3 + "2")), "R2 session 4 > 3"),
        (shown(*feed("1001001001001")), "R1 last_20 5 > 4"),
        (shown(*feed("3")), "R3 at delivery 0"),
        (shown(*feed("2"), level=2), "R2 at level 2"),
        (shown(*feed("0002"), is_night=True, level=1), "R2 last_20 1 > 0"),
        (shown(item(0, "R2", family="unlabelled"), band="13-15"), "an unlabelled item for a minor"),
        (shown(item(0), item(1), item(0)), "item v0 again after 2 seen"),
        (shown(item(0), is_search=True) + shown(item(1), item(0)), "item v0 again after 2 seen"),
        (shown(*feed("000", creator_id="c")), "3 of creator c in 20"),
        (shown(*(item(n, "R2") for n in (0,)), *feed("000000", 10), item(9, "R2")), "R2:despair last_20 2 > 1"),
    ],
)
def test_each_planted_violation_is_found(problems, history, sentence) -> None:
    assert any(sentence in problem for problem in problems(history)), problems(history)


@pytest.mark.parametrize(("step", "counts"), [(DAY, True), (DAY + 6, False)])
def test_a_delivery_exactly_a_day_old_still_counts(problems, step, counts) -> None:
    """Six R2 in six sessions, and a seventh when the first is a day old."""
    history: list[CountedDelivery] = []
    for n in range(7):
        at = START + (step if n == 6 else n * 2 * HOUR)
        items = feed("0" * 20 + "2", first=100 * n)
        items[-1] = item(100 * n + 50, "R2", family=("despair", "body", "aggression", "self_diagnosis")[n % 4])
        history += [
            CountedDelivery(at=at, session=n, item=item_, band="18+", level=0, is_night=False, page=n)
            for item_ in items
        ]
    assert any("R2 rolling_24h 7 > 6" in problem for problem in problems(history)) is counts


@pytest.mark.parametrize(
    ("band", "counter", "level", "is_night", "expected"),
    [
        ("18+", "R2", 0, False, (2, 3, 6, 21)),
        ("18+", "R2", 0, True, (1, 1, 3, 10)),
        ("18+", "R2", 1, False, (1, 1, 2, 7)),
        ("18+", "R2", 1, True, (0, 0, 0, 0)),
        ("18+", "R2:body", 0, False, (1, 2, 3, 11)),
        ("18+", "R1", 0, True, (2, 4, 10, 40)),
        ("18+", "S4", 2, True, (4, 6, 12, 50)),
        ("16-17", "R2", 0, False, (1, 2, 3, 10)),
        ("16-17", "R1", 0, True, (0, 0, 0, 0)),
        ("13-15", "R2", 1, False, (0, 0, 0, 0)),
        ("13-15", "R1+R2", 0, False, (2, 4, 9, 33)),
    ],
)
def test_the_caps_are_those_of_the_specifications_table(morocco, band, counter, level, is_night, expected) -> None:
    assert tuple(caps(morocco.ages[band], counter, level, is_night).values()) == expected


def test_the_fullest_run_and_the_longest_streak_by_hand() -> None:
    flags = [c == "x" for c in "x.xx....xxx"]
    assert (most_in_any_run(flags, 4), most_in_any_run(flags, 2), longest_streak(flags)) == (3, 2, 3)
    assert (most_in_any_run([], 20), longest_streak([])) == (0, 0)
