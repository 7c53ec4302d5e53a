"""The report on a market's creators, worked by hand."""

import pytest

from recsys.catalogue.creators import Creator
from recsys.catalogue.items import apply_delta, empty_items
from recsys.clock import DAY
from recsys.services.creator_report import concentration, report_of
from recsys.services.creators import exposure
from recsys.stores.protocols import CatalogueDelta, ExposureCount, ItemChange, ItemRow, StatedWording

TODAY = 20_000


def count(creator_id: str, n: int, day: int = TODAY, *, country: str = "MA", local: bool = True, **more: str):
    return ExposureCount(
        creator_id=creator_id, day=day, country=country, region="", is_local=local, n=n,
        **{"attribution": "merit", **more},
    )  # fmt: skip


CREATORS = {
    "small": Creator(creator_id="small", country="MA", followers=999, kind="peer"),
    "large": Creator(creator_id="large", country="MA", followers=200_000, kind="peer"),
    "quiet": Creator(creator_id="quiet", country="MA"),
    "abroad": Creator(creator_id="abroad", country="FR", followers=1_000),
    "empty": Creator(creator_id="empty", country="MA"),  # without items: no local creator to be found
}
COUNTS = (
    count("small", 60), count("small", 40, TODAY - 10, attribution="floor"), count("small", 7, country="FR"),
    count("large", 900, TODAY - 3), count("large", 100), count("abroad", 200, local=False),
)  # fmt: skip


@pytest.fixture(scope="module")
def items(market):
    owners = ["small", "small", "large", "quiet", "abroad"]
    rows = tuple(
        ItemRow(
            item_no=n, wordings=(StatedWording(None, 0, 0),), revision=1, peak_tier=0, is_edited=False,
            fields={"item_id": f"v{n}", "creator_id": owner, "published_at": 0, "title": "", "is_hidden": n == 2},
        )
        for n, owner in enumerate(owners, start=1)
    )  # fmt: skip
    delta = CatalogueDelta(revision=1, newest_raise=0, rows=rows)
    return apply_delta(empty_items(), delta, market=market, creators=CREATORS, rows={})


def test_a_report_counts_the_markets_people_by_size_and_by_how_slots_were_won(market, items):
    report = report_of(COUNTS, CREATORS, items, market, TODAY * DAY)
    assert report.impressions == 1_300 and report.local_share == pytest.approx(1_100 / 1_300)
    sizes = {part.name: (part.n_creators, part.n_items, part.impressions) for part in report.by_size}
    assert sizes == {
        "0 to 999 followers": (1, 1, 100),
        "1,000 to 9,999 followers": (1, 1, 200),
        "100,000 followers and more": (1, 1, 1_000),
        "followers unknown": (1, 1, 0),
    }
    small = next(part for part in report.top if part.name == "small")
    assert small.slots == {"floor": 40, "exploration": 0, "merit": 60}
    assert [part.name for part in report.top] == ["large", "abroad", "small", "quiet"]


def test_new_are_those_below_the_policys_impressions_wherever_they_were_shown(market, items):
    new = report_of(COUNTS, CREATORS, items, market, TODAY * DAY).new_creators
    assert (new.n_new, new.n_known, new.median_days) == (2, 1, 3.0)  # small (107) and quiet; large after 3 days
    assert new.share_of_local_slots == pytest.approx(100 / 1_100)


def test_the_last_days_are_whole_days_up_to_today(market, items):
    assert report_of(COUNTS, CREATORS, items, market, TODAY * DAY, days=4).impressions == 1_260
    assert report_of(COUNTS, CREATORS, items, market, TODAY * DAY, days=1).impressions == 360


def test_concentration_counts_who_got_nothing():
    found = concentration([count("a", 3), count("b", 1), count("x", 9)], ["a", "b", "c", "d"])
    assert (found.n_creators, found.hhi, found.top_10_share) == (4, 0.625, 1.0)
    assert found.gini == pytest.approx((2 * (1 * 0 + 2 * 0 + 3 * 1 + 4 * 3) - 5 * 4) / (4 * 4), abs=1e-4)
    nothing = concentration([], ["a"])
    assert (nothing.n_creators, nothing.gini, nothing.hhi) == (1, None, None)
    assert concentration([], []).gini is None


def test_a_creator_is_told_when_our_own_label_raised_an_item(service, evening):
    """The platform said R0, the trained model R2, surely: that is the reason, not the platform's label."""
    page = service.ask(dry_run=True)
    row = service.store.catalogue.get(page.items[0].item_id)
    fields = {**row.fields, "predicted_tier": "R2", "predicted_family": "despair", "label_confidence": 0.95}
    service.store.catalogue.put([ItemChange(fields=fields)], evening)
    report = exposure(service.engine, page.items[0].creator_id, evening)
    labels = {label["item_id"]: label for label in report["labels"]}
    assert labels[page.items[0].item_id]["tier"] == "R2"
    assert labels[page.items[0].item_id]["reason"].startswith("our own label raised it")
