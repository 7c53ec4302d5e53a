"""The Python client that was generated, against a running service: python smoke.py ADDRESS, beside the client."""

import sys

from sanad_client import Client
from sanad_client.api.explanations import explain_item
from sanad_client.api.feed import make_feed, rank
from sanad_client.api.health import get_version
from sanad_client.api.rights import export_user, get_user_exposure
from sanad_client.api.users import put_user
from sanad_client.models import FeedBody, FeedResponse, ProblemDetail, RankBody, UserBody


def main(address: str) -> None:
    """Calls that a platform makes first, each with a typed answer."""
    client = Client(base_url=address)
    assert get_version.sync(client=client).sanad
    assert put_user.sync("u1", client=client, body=UserBody.from_dict({"country": "MA"})).country == "MA"
    page = make_feed.sync(client=client, body=FeedBody(user_id="u1", size=5, request_id="r1"))
    assert isinstance(page, FeedResponse) and len(page.items) == 5, page
    first = page.items[0]
    why = explain_item.sync(client=client, request_id="r1", item_id=first.item_id)
    assert why.shown and why.position == 1, why
    candidates = [{"item_id": item.item_id} for item in page.items] + [{"item_id": "unknown"}]
    ranked = rank.sync(client=client, body=RankBody.from_dict({"user_id": "u2", "candidates": candidates}))
    assert isinstance(ranked, FeedResponse) and ranked.items, ranked
    assert get_user_exposure.sync("u1", client=client).deliveries == 5
    assert export_user.sync("u1", client=client).answers[0].items[0].item_id == first.item_id
    refused = make_feed.sync_detailed(client=client, body=FeedBody(user_id="u1", size=0))
    assert refused.status_code == 422 and isinstance(refused.parsed, ProblemDetail), refused
    print("the Python client works")


if __name__ == "__main__":
    main(sys.argv[1])
