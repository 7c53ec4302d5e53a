"""
The list of people whom the next training run must leave out, as a file: the service writes it, training reads it.

It holds no id. With the ids of the data folder, the same keyed hash finds the people. So the file is as private as the
state it comes from: only its owner may read it, and it must be deleted after training.
"""

import hashlib
import hmac
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from recsys.clock import Millis
from recsys.errors import ConfigError
from recsys.stores.protocols import Forgotten


class _Person(msgspec.Struct, forbid_unknown_fields=True):
    key: str
    before: Millis
    is_erased: bool


class _File(msgspec.Struct, forbid_unknown_fields=True):
    format: Literal[1]
    key: str
    people: list[_Person]


def write_forgotten(path: Path, forgotten: Forgotten) -> None:
    """Writes the list, readable by its owner alone. Raises OSError."""
    people = [
        _Person(key.hex(), before, key in forgotten.erased) for key, before in sorted(forgotten.before.items())
    ]  # fmt: skip
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(_File(1, forgotten.key.hex(), people))) + b"\n")
    temporary.replace(path)


def read_forgotten(path: Path) -> Forgotten:
    """The list as written. Raises ConfigError: a list that cannot be read must never count as an empty one."""
    try:
        file = msgspec.json.decode(path.read_bytes(), type=_File)
        before = {bytes.fromhex(person.key): person.before for person in file.people}
        erased = frozenset(bytes.fromhex(person.key) for person in file.people if person.is_erased)
        return Forgotten(key=bytes.fromhex(file.key), before=before, erased=erased)
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise ConfigError(
            f"{path}: found no list of people to leave out ({error}), expected a file from 'sanad export forgotten'"
        ) from error


def training_cutoffs(forgotten: Forgotten, user_ids: Iterable[str]) -> Mapping[str, tuple[Millis, bool]]:
    """Of these people, those who are to be left out: the instant up to which, and whether they were erased."""
    keys = {user_id: hmac.digest(forgotten.key, user_id.encode(), hashlib.sha256) for user_id in user_ids}
    return {
        user_id: (forgotten.before[key], key in forgotten.erased)
        for user_id, key in keys.items()
        if key in forgotten.before
    }
