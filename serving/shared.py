"""
What an operator decides for every service on the same stores, on whichever machine it runs: which experiments are
killed, and which policy and experiments were published. Each service looks twice a second, see `serving.follow`.
"""

import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from recsys.clock import Millis
from recsys.errors import ConfigError, Conflict
from recsys.experiments.files import REGISTRY_FILE, load_experiments
from recsys.experiments.payload import Experiments
from recsys.policy.checks import load_market
from recsys.stores.audit import audit_entry
from recsys.stores.protocols import ControllerStore, Stores
from serving.rules import Rules

_KILLS: Final = "killed experiments"
_RULES: Final = "published rules of "
_STAMP: Final = "stamp of the published rules of "
_MAX_TRIES: Final = 8  # while others decide at the same moment
_POLICY_FILE: Final = "policy.yaml"


class Kill(msgspec.Struct, frozen=True, array_like=True):
    """Who killed an experiment, and when."""

    at: Millis
    who: str


class Published(msgspec.Struct, frozen=True, array_like=True):
    """A policy and experiments as they were published: the name and the bytes of each file."""

    at: Millis
    who: str
    policy: bytes
    experiments: Mapping[str, bytes]


def read_stamp(controllers: ControllerStore, market: str) -> bytes | None:
    """What each publication of rules for a market changes: small, so that it can be read often. Raises StoreError."""
    return controllers.read(_STAMP + market)


def read_kills(packed: bytes | None) -> Mapping[str, Kill]:
    """Who killed which experiment, by its key."""
    return {} if packed is None else msgspec.msgpack.decode(packed, type=dict[str, Kill])


def kills_of(controllers: ControllerStore) -> Mapping[str, Kill]:
    """The experiments that are killed in every service on these stores."""
    return read_kills(controllers.read(_KILLS))


def kill(stores: Stores, key: str, at: Millis, who: str) -> bool:
    """
    Kill an experiment in every service on these stores: from then on everybody gets the default, also after a restart.
    False where it is killed already. It is noted in the audit log first. Raises StoreError.
    """
    return _change_kills(stores, key, at, who, Kill(at, who))


def revive(stores: Stores, key: str, at: Millis, who: str) -> bool:
    """Undo `kill`, which only a person should; False where nobody killed it. The file's own status counts again."""
    return _change_kills(stores, key, at, who, None)


def _change_kills(stores: Stores, key: str, at: Millis, who: str, change: Kill | None) -> bool:
    action = "experiment_revived" if change is None else "experiment_killed"
    is_noted = False
    for _ in range(_MAX_TRIES):
        packed = stores.controllers.read(_KILLS)
        kills = dict(read_kills(packed))
        if (key in kills) == (change is not None):
            return False
        if change is None:
            del kills[key]
        else:
            kills[key] = change
        if not is_noted:
            stores.audit.append([audit_entry(at, who, action, experiment=key)])
            is_noted = True
        if stores.controllers.replace(_KILLS, packed, msgspec.msgpack.encode(kills)):
            return True
    raise Conflict("found others who kill experiments at the same moment; try again")


def publish(stores: Stores, policy: Path, experiments: Path | None, at: Millis, who: str) -> Rules:
    """
    Publish a policy and a folder of experiments for every service of the market on these stores that serves shared
    rules. They are checked first, and noted in the audit log. Raises ConfigError; then nothing changes. Raises Conflict
    and StoreError; then publish again: services that start may serve these rules already.
    """
    market = load_market(policy)  # its sentences, and those of the next line, name the files as the operator knows them
    if experiments is not None:
        load_experiments(experiments, market)
    paths = () if experiments is None else sorted(experiments.glob("*.yaml"))
    published = Published(at, who, policy.read_bytes(), {path.name: path.read_bytes() for path in paths})
    rules = rules_of(published)
    versions = {"policy": rules.market.version, "experiments": rules.experiments.version}
    name = rules.market.market
    before = stores.controllers.read(_RULES + name)
    stores.audit.append([audit_entry(at, who, "rules_published", **versions)])
    if not stores.controllers.replace(_RULES + name, before, msgspec.msgpack.encode(published)):
        raise Conflict("found rules that somebody published at the same moment; look at them, and try again")
    _stamp(stores.controllers, _STAMP + name)
    return rules


def _stamp(controllers: ControllerStore, name: str) -> None:
    """Of two stamps at the same moment either will do: each is another than the one before."""
    for _ in range(_MAX_TRIES):
        if controllers.replace(name, controllers.read(name), secrets.token_bytes(8)):
            return
    raise Conflict("found others who publish rules at the same moment; try again")


def read_published(controllers: ControllerStore, market: str) -> Rules | None:
    """
    The rules that were published last for a market; None = nobody did. Raises StoreError, and ConfigError where this
    version of the program refuses them.
    """
    packed = controllers.read(_RULES + market)
    return None if packed is None else rules_of(msgspec.msgpack.decode(packed, type=Published))


def rules_of(published: Published) -> Rules:
    """The rules of published files, checked like any others. Raises ConfigError."""
    with tempfile.TemporaryDirectory() as place:
        try:
            return _read_in(Path(place), published)
        except ConfigError as error:  # nobody could find the files that were made here
            raise ConfigError(*(told.replace(f"{place}/", "published ") for told in error.problems)) from error


def _read_in(place: Path, published: Published) -> Rules:
    policy, folder = place / _POLICY_FILE, place / "experiments"
    policy.write_bytes(published.policy)
    market = load_market(policy)
    if REGISTRY_FILE not in published.experiments:
        return Rules(market, Experiments())
    folder.mkdir()
    for name, text in published.experiments.items():
        (folder / Path(name).name).write_bytes(text)
    return Rules(market, load_experiments(folder, market))
