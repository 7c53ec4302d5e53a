"""What `DecisionLog` promises."""

NOW = 1_780_000_000_000


def test_a_decision_is_the_newest_of_its_request_id(store, make):
    store.users.write_if("u", make.state(1), 0, make.page("u", "r"))
    store.users.write_if("w", make.state(1), 0, make.page("w", "r"))
    assert store.decisions.of_request("r") == make.page("w", "r").answer
    store.users.write_if("u", make.state(2), store.users.read("u").version, make.page("u", "r", answer=b"new"))
    assert store.decisions.of_request("r") == make.page("u", "r", answer=b"new").answer
    assert store.decisions.of_request("unknown") is None


def test_a_persons_records_are_listed_in_commit_order(store, make):
    store.users.write_if("u", make.state(1), 0, make.page("u", "r1", 1))
    store.users.write_if("u", make.state(2), store.users.read("u").version, make.page("u", "r2", 1))
    store.users.write_if("v", make.state(1), 0, make.page("v", "r3", 1))
    assert [answer.request_id for answer in store.decisions.of_user("u")] == ["r1", "r2"]
    assert [answer.request_id for answer in store.decisions.newest(2)] == ["r3", "r2"]


def test_records_of_everybody_come_in_order_since_an_instant(store, make):
    for n in range(105):
        store.users.write_if(f"u{n}", make.state(1), 0, make.page(f"u{n}", f"r{n}", n))
    answers = list(store.decisions.since(0))
    assert [answer.request_id for answer in answers] == [f"r{n}" for n in range(105)]
    middle = answers[50].at
    assert [a.request_id for a in store.decisions.since(middle)] == [a.request_id for a in answers if a.at >= middle]
    store.users.erase("u104", NOW, None)
    assert [a.request_id for a in store.decisions.since(0)] == [f"r{n}" for n in range(104)]
