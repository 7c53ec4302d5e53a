"""What an address of a state on Redis may be, and what is said of one that may not."""

import pytest

from recsys.errors import ConfigError, StoreError
from serving.stores.open import Address
from serving.stores.redis.address import read_address
from serving.stores.redis.sink import Sink


def test_an_address_names_servers_account_and_settings():
    address = read_address("rediss://me:p%40ss@a:1,[::1]:2,c/3?records=s3://b/r&replicas=2&fsync=everysec&name=x-1")
    assert address.places == (("a", 1), ("::1", 2), ("c", 6379))
    assert (address.username, address.password, address.db, address.is_tls) == ("me", "p@ss", 3, True)
    assert (address.records, address.replicas, address.fsync, address.name) == ("s3://b/r", 2, "everysec", "x-1")


def test_what_is_not_named_keeps_the_promise():
    address = read_address("redis://h?records=/r")
    assert (address.replicas, address.fsync, address.password) == (None, "always", None)


def test_no_password_is_printed():
    assert str(read_address("redis://me:secret@h:1/?records=/r")) == "redis://h:1/0"
    for wrong in (
        "redis://me:secret@h:port/?records=/r",
        "redis://me:secret@h:1/",
        "redis://me:secret@h:1/x?records=r",
        "redis://me:secret/x@h:1/?records=r",
        "redis://me:secret#x@h:1/?records=r",
        "redis://me:1?secret@h:1/?records=r",
        "redis://me:p@secret?x@h:1/?records=/r",
    ):
        with pytest.raises(ConfigError) as error:
            read_address(wrong)
        assert "secret" not in str(error.value) + str(Address(wrong))
    assert "secret" not in repr(read_address("redis://me:secret@h:1/?records=/r"))


def test_the_account_of_a_place_for_records_is_not_printed():
    with pytest.raises(StoreError, match=r"^nothing://h/r: no place for decision records") as error:
        Sink("nothing://me:secret@h/r")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("", "found no place for decision records"),
        ("records=", "found no place for decision records"),
        ("records=/r&replica=1", "found replica in the address"),
        ("records=/r&replicas=many", "expected auto or a number"),
        ("records=/r&replicas=-1", "expected auto or a number"),
        ("records=/r&fsync=no", "expected always or everysec"),
        ("records=/r&name=a{b}", "expected letters, digits and hyphens"),
    ],
)
def test_a_wrong_setting_gets_a_sentence(query, sentence):
    with pytest.raises(ConfigError, match=sentence):
        read_address(f"redis://h:1/?{query}")
