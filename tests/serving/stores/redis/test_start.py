"""What a server must promise before anything is written to it: each that does not is refused in a sentence."""

from pathlib import Path

import pytest

from recsys.errors import StoreError
from serving.stores.redis import schema
from serving.stores.redis.address import read_address
from serving.stores.redis.store import RedisStore
from tests.servers.redis import PASSWORD, RedisServer, free_port, redis_server


@pytest.mark.parametrize(
    ("setting", "value", "sentence"),
    [
        ("appendonly", "no", "found no append-only file, so a restart loses people"),
        ("appendfsync", "everysec", "found appendfsync everysec, by which a power cut loses what was answered"),
        ("appendfsync", "no", "found appendfsync no"),
        ("maxmemory-policy", "allkeys-lru", "found maxmemory-policy allkeys-lru, by which it forgets what caps count"),
    ],
)
def test_a_server_that_may_forget_is_refused(server, open_store, setting, value, sentence):
    with server.client as client:
        client.config_set(setting, value)
    with pytest.raises(StoreError, match=sentence):
        open_store(server)


def test_the_loss_of_a_second_can_be_accepted_and_that_of_more_cannot(server, open_store, make):
    with server.client as client:
        client.config_set("appendfsync", "everysec")
        assert open_store(server, "&fsync=everysec").users.write_if("u", make.state(1), 0)
        client.config_set("appendfsync", "no")
    with pytest.raises(StoreError, match="found appendfsync no"):
        open_store(server, "&fsync=everysec")


def test_an_old_version_is_refused(server, open_store, monkeypatch):
    with server.client as client:
        found = client.info("server")["redis_version"]
    monkeypatch.setattr(schema, "OLDEST", (99, 0))
    with pytest.raises(StoreError, match=f"found Redis {found}, expected 7.0 or later"):
        open_store(server)


def test_a_wrong_password_is_said_and_not_printed(server, tmp_path):
    wrong = server.address(tmp_path / "r").replace(PASSWORD, "guessed")
    with pytest.raises(StoreError, match="password or user that the server refuses") as error:
        RedisStore(read_address(wrong))
    assert "guessed" not in str(error.value)


def test_a_server_without_a_password_given_is_said(server, tmp_path):
    with pytest.raises(StoreError, match="password or user that the server refuses"):
        RedisStore(read_address(server.address(tmp_path / "r").replace(f":{PASSWORD}@", "")))


def test_no_server_is_said(tmp_path):
    with pytest.raises(StoreError, match="the server cannot be reached; start it"):
        RedisStore(read_address(f"redis://127.0.0.1:{free_port()}/?records={tmp_path}"))


def test_a_read_only_replica_is_refused(server, open_store, tmp_path: Path):
    with (
        redis_server(tmp_path / "replica", f"--replicaof 127.0.0.1 {server.port}") as replica,
        pytest.raises(StoreError, match="found a read-only replica"),
    ):
        open_store(replica)


def test_more_replicas_than_there_are_cannot_be_waited_for(server, open_store):
    with pytest.raises(StoreError, match="found a server with 0 replicas, expected 1"):
        open_store(server, "&replicas=1")


def test_a_place_for_records_that_cannot_be_written_is_said(server, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="no place for decision records"):
        RedisStore(read_address(server.address(tmp_path / "file" / "r")))
    with pytest.raises(StoreError, match="no place for decision records"):
        RedisStore(read_address(server.address("nothing://such")))


def test_two_names_are_two_states_on_one_server(server: RedisServer, tmp_path, make):
    one, two = (RedisStore(read_address(server.address(tmp_path / name, f"&name={name}"))) for name in ("one", "two"))
    assert one.users.write_if("u", make.state(1), 0)
    assert two.users.read("u").version == 0
    assert one.signing_key != two.signing_key
    one.close()
    two.close()


def test_a_server_that_may_not_be_asked_for_its_settings_is_refused(server, open_store):
    with server.client as client:
        client.execute_command("ACL", "SETUSER", "default", "-config")
        with pytest.raises(StoreError, match="allow CONFIG GET to the user of the state"):
            open_store(server)


def test_functions_that_somebody_deleted_are_loaded_again(server, open_store, make):
    store = open_store(server)
    with server.client as client:
        client.function_flush()
    assert store.users.write_if("u", make.state(1), 0)
