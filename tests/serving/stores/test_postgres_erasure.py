"""What stays of somebody who was erased on a real PostgreSQL server: in its files, in a dump, and in an old copy."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from recsys.clock import now
from recsys.types import Event as Reported
from recsys.user.state import pack
from tests.servers.postgres import Postgres, running
from tests.serving.stores.test_postgres import NOW, counted, event, opened, page


@pytest.fixture
def state(postgres: Postgres) -> str:
    """The address of an empty database."""
    return postgres.url(postgres.new_database())


@pytest.fixture(scope="module")
def own() -> Iterator[Postgres]:
    """A server whose files a test may read."""
    with running() as server:
        yield server


def files_with(folder: Path, *texts: bytes) -> set[str]:
    """The files of a server in which one of the texts stands, by their place."""
    found = set()
    for path in folder.rglob("*"):
        if path.is_file() and any(text in path.read_bytes() for text in texts):
            found.add(re.sub(r"\d+", "N", str(path.relative_to(folder).parent)))
    return found


def test_nothing_of_a_person_stands_open_anywhere_and_an_erasure_ends_their_key(own: Postgres) -> None:
    database = own.new_database()
    url, secrets = own.url(database), (b"person-of-this-test", b"a-sentence-of-theirs")
    with closing(opened(url)) as store:
        user_id, told = (text.decode() for text in secrets)
        store.users.write_if("somebody before", counted(1), 0)
        store.users.write_if(user_id, counted(1), 0, page(user_id, f"r-{told}", 1, answer=secrets[1] * 9))
        store.events.append([Reported(event_id=told, user_id=user_id, kind="search", at=NOW, value=told)], NOW)
        number = own.sql("SELECT substr(safety, 1, 8) FROM sanad.people ORDER BY version", database)[1][0]
        [(key,)] = own.sql(f"SELECT key FROM sanad_keys.keys WHERE number = '\\x{bytes(number).hex()}'", database)
        own.sql("CHECKPOINT")
        assert isinstance(key, bytes) and files_with(own.folder, key) == {"base/N", "pg_wal"}
        assert files_with(own.folder, *secrets) == set()
        store.users.erase(user_id, NOW, pack(counted(1))[1])
        dump = subprocess.run(
            [str(own.programs / "pg_dump"), url], capture_output=True, check=True
        ).stdout  # fmt: skip
        assert not any(text in dump for text in secrets) and key.hex().encode() not in dump
        store.prune(NOW)  # the tables of keys that lost one are written anew
        own.sql("CHECKPOINT")
        assert files_with(own.folder, *secrets) == set()
        assert files_with(own.folder, key) == {"pg_wal"}, "in the log until its segment is used again"


def test_a_copy_from_before_an_erasure_says_nothing_where_the_keys_are_elsewhere(
    postgres: Postgres, state: str
) -> None:
    keys, name = postgres.url(postgres.new_database()), state.rpartition("/")[2]
    address = f"{state}?keys={keys}"
    with closing(opened(address)) as store:
        store.users.write_if("u", counted(5), 0, page("u", "r", 1))
        store.users.write_if("w", counted(1), 0)
        store.events.append([event("e")], NOW)
        store.close()
    copy = postgres.copy_of(name)
    with closing(opened(address)) as store:
        store.users.erase("u", NOW, pack(counted(5))[1])
        store.users.write_if("later", counted(5), 0)
        store.users.erase("later", now(), pack(counted(5))[1])
    restored = f"{postgres.url(copy)}?keys={keys}"
    with closing(opened(restored)) as store:
        assert store.erased_again == {"users": 1, "deliveries": 1, "decisions": 1, "events": 1}
        read = store.users.read("u", "r")
        assert read.answer is None and read.logged == () and read.state.safety.is_erased
        assert store.users.read("w").state == counted(1)
        assert store.users.read("later").state.safety.loop.level == 2, "the copy never knew them"
    with closing(opened(restored)) as store:
        assert not any(store.erased_again.values()), "once"
