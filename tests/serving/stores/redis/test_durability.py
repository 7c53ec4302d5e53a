"""What a write waits for. Servers with WAITAOF (from 7.2) were not there to try: what is sent to them is looked at."""

import pytest

from recsys.errors import StoreError
from serving.stores.redis.servers import Durability
from tests.serving.stores.redis.load import write


def test_a_write_waits_for_replicas_and_on_newer_servers_for_the_disks():
    assert Durability(0, on_disk=False).command(1.5) is None
    assert Durability(2, on_disk=False).command(1.5) == ("WAIT", 2, 1_500)
    assert Durability(1, on_disk=True).command(0.0) == ("WAITAOF", 1, 1, 1), "0 would be without end"


def test_as_many_as_are_waited_for_are_enough():
    assert Durability(1, on_disk=False).is_kept(1) and not Durability(2, on_disk=False).is_kept(1)
    newer = Durability(1, on_disk=True)
    assert newer.is_kept([1, 1]) and newer.is_kept([1, 2]) and not newer.is_kept([1, 0])
    assert not Durability(0, on_disk=True).is_kept([0, 0]), "not on the disk of the server itself"


@pytest.mark.parametrize(("fsync", "is_doubted"), [("always", False), ("everysec", True)])
def test_a_restart_of_a_server_that_flushes_now_and_then_puts_its_people_in_doubt(
    server, open_store, make, fsync, is_doubted
):
    server.settings = (f"--appendfsync {fsync}",)
    server.kill()
    server.start()
    store = open_store(server, f"&fsync={fsync}")
    assert write(store, make, "u", 1)
    server.kill()
    server.start()
    if not is_doubted:
        assert write(store, make, "u", 2)
        return
    for again in (store, open_store(server, f"&fsync={fsync}")):
        with pytest.raises(StoreError, match="a failover may have lost what was counted"):
            write(again, make, "u", 2)
