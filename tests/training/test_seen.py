"""The list of what the log says was seen: the newest first to stay, within 30 days of the log's end."""

from recsys.clock import DAY
from recsys.data.tables import read_dataset
from training.seen import seen_in_log

END = 1_790_000_000_000


def test_of_each_user_the_items_seen_in_the_last_30_days_oldest_first(write):
    events = [
        ("e1", "u1", "view", END - 31 * DAY, "a"),
        ("e2", "u1", "complete", END - 2 * DAY, "c"),
        ("e3", "u1", "impression", END - 5 * DAY, "b"),
        ("e4", "u1", "like", END - DAY, "b"),
        ("e5", "u2", "not_interested", END - DAY, "a"),
        ("e6", "u2", "impression", END, "c"),
    ]
    rows = [dict(zip(("event_id", "user_id", "kind", "at", "item_id"), event, strict=True)) for event in events]
    folder = write(events=rows)
    dataset = read_dataset(folder)
    seen = seen_in_log(dataset, ("u1", "u2", "u3"), ("a", "b", "c"), None)
    assert {user_id: seen[user_id].tolist() for user_id in seen} == {"u1": [2, 1], "u2": [2], "u3": []}
    assert seen.until == END
    earlier = seen_in_log(dataset, ("u1", "u2"), ("a", "b", "c"), END - 3 * DAY)
    assert earlier["u1"].tolist() == [0, 1] and earlier.until == END - 5 * DAY
