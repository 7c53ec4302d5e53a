"""
Copies of a state file while it is in use, and the way back.

A copy holds what is sealed and never the keys: those of people live beside the state file and are copied by a call of
their own, to another place. So whoever was erased after a copy was made is unreadable in it for good, and `restore`
erases them again.
"""

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from recsys.clock import Millis
from recsys.errors import ConfigError, StoreError
from serving.stores.sqlite.schema import APPLICATION
from serving.stores.sqlite.store import SqliteStore
from serving.stores.sqlite.vault import vault_path


def backup(source: Path, out: Path) -> None:
    """
    Copy a state file, or a file of keys, as it is at one moment; checked, readable by its owner only, whole or not at
    all. The service may keep running. Raises ConfigError where `out` is there, and StoreError.
    """
    if out.exists():
        raise ConfigError(f"found {out}, expected a file that is not there; choose another --out")
    beside = out.with_name(f".{out.name}.writing")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        with closing(_connect(source)) as live, closing(sqlite3.connect(beside)) as copy:
            live.backup(copy)  # in one step: in parts, every write of the service would begin it anew
            copy.execute("PRAGMA journal_mode=DELETE")
            _check(copy, source)
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.replace(out)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{source} was not copied to {out} ({error}); look at the disk, and try again") from error
    finally:
        beside.unlink(missing_ok=True)


def restore(copy: Path, state: Path) -> Mapping[str, int]:
    """
    Put a copy of a state file in the place of the file, whose keys must be there. Opening it erases again whoever was
    erased since; if that is interrupted, the next opening does it. Returns the deleted rows by table. A file that is
    there already is kept as `<state>.replaced`.

    Raises ConfigError for a copy that is none or belongs to other keys, and StoreError while a service uses the file.
    """
    with closing(_connect(copy)) as connection:
        _check_is_state(connection, copy)
        installation = connection.execute("SELECT installation FROM meta").fetchone()
    _check_keys(vault_path(state), installation, copy)
    beside = state.with_name(f".{state.name}.restoring")
    beside.unlink(missing_ok=True)
    backup(copy, beside)
    try:
        with closing(sqlite3.connect(beside)) as connection, connection:
            connection.execute("UPDATE meta SET is_clean = 0")
        _keep_aside(state)
        beside.replace(state)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{copy} was not restored to {state} ({error}); look at the disk, and try again") from error
    finally:
        beside.unlink(missing_ok=True)
    store = SqliteStore(state)
    store.close()
    return store.erased_again


def committed_at(copy: Path) -> Millis:
    """The last time that was committed in a state file or a copy of one. Raises ConfigError for another file."""
    with closing(_connect(copy)) as connection:
        _check_is_state(connection, copy)
        at: Millis = connection.execute("SELECT committed_at FROM meta").fetchone()[0]
        return at


def _connect(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise ConfigError(f"found no file {path}, expected a state file or a copy of one")
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)


def _check(connection: sqlite3.Connection, source: Path) -> None:
    problems = [text for (text,) in connection.execute("PRAGMA quick_check(3)") if text != "ok"]
    if problems:
        raise StoreError(f"{source} is damaged ({'; '.join(problems)}); restore the last copy")


def _check_is_state(connection: sqlite3.Connection, copy: Path) -> None:
    try:
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        is_state = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'users'").fetchone()[0]
    except sqlite3.Error as error:
        raise ConfigError(
            f"found {copy}, which is no SQLite file ({error}), expected a copy of a state file"
        ) from error
    if application != APPLICATION or not is_state:
        raise ConfigError(f"found {copy}, expected a copy that 'sanad backup' made of a state file")
    _check(connection, copy)


def _check_keys(keys: Path, installation: tuple[bytes], copy: Path) -> None:
    if not keys.is_file():
        raise ConfigError(f"found no file {keys}, expected the keys of the people in the copy; restore them first")
    with closing(_connect(keys)) as connection:
        if connection.execute("SELECT installation FROM meta").fetchone() != installation:
            raise ConfigError(f"found {copy} of another installation than {keys}, expected a copy of this one")


def _keep_aside(state: Path) -> None:
    """A second name for the file that will be replaced, with all that was written to it."""
    logs = [state.with_name(state.name + ending) for ending in ("-wal", "-shm", "-journal")]
    if state.exists():
        replaced = state.with_name(f"{state.name}.replaced")
        if replaced.exists():
            raise ConfigError(f"found {replaced} of an earlier restore, expected none; move it away, or delete it")
        try:
            with closing(sqlite3.connect(state, timeout=1)) as connection:
                connection.execute("PRAGMA journal_mode=DELETE")  # fails while anybody else has the file open
        except sqlite3.Error as error:
            raise StoreError(f"{state} is in use or damaged ({error}); stop the service, or move it away") from error
        replaced.hardlink_to(state)
    left = [log.name for log in logs if log.exists()]
    if left:
        raise ConfigError(f"found {', '.join(left)} of a file that is gone, expected none; move them away too")
