"""Servers of Redis for tests: own processes on free ports, with what they hold in temporary folders."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from tests.servers import missing

PROGRAM = shutil.which("redis-server")
PASSWORD = "only-for-tests"
START_S = 20.0
_SETTINGS = (
    "--appendonly yes",
    "--appendfsync always",
    "--maxmemory-policy noeviction",
    "--save ''",
    "--repl-diskless-sync-delay 0",
)


def need_redis() -> None:
    """End a test where this machine has no server."""
    if PROGRAM is None:
        missing("found no redis-server; install Debian's package of that name")


def free_port() -> int:
    """A port that is free, and free with 10,000 added, where a cluster talks."""
    while True:
        with socket.socket() as probe, socket.socket() as bus:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
            if port > 50_000:
                continue
            with suppress(OSError):
                bus.bind(("127.0.0.1", port + 10_000))
                return port


@dataclass(slots=True)
class RedisServer:
    """One server. `settings` come after those that the state needs, and win."""

    folder: Path
    settings: Sequence[str] = ()
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def client(self) -> "Redis":
        """A client of the library, to look at the server from outside."""
        return Redis(port=self.port, password=PASSWORD, protocol=2)

    def address(self, records: Path | str, more: str = "") -> str:
        """What names it as a state."""
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}/?records={records}{more}"

    def start(self) -> "RedisServer":
        """Start it, and wait until it has read its files."""
        self.folder.mkdir(parents=True, exist_ok=True)
        given = " ".join((*_SETTINGS, *self.settings)).split()
        program = [str(PROGRAM), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        passwords = ["--requirepass", PASSWORD, "--masterauth", PASSWORD]
        words = ["" if word == "''" else word for word in given]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([*program, *passwords, *words], stdout=log, stderr=log)
        until = time.monotonic() + START_S
        while True:
            try:
                with self.client as client:
                    client.ping()
                    return self
            except RedisError:
                if time.monotonic() > until or self.process.poll() is not None:
                    raise
            time.sleep(0.02)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, such as SIGSTOP."""
        assert self.process is not None
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        """End it at once, as a power cut does to a process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextmanager
def redis_server(folder: Path, *settings: str) -> Iterator[RedisServer]:
    """A server of its own."""
    server = RedisServer(folder, settings).start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def redis_cluster(folder: Path, *settings: str) -> Iterator[tuple[RedisServer, ...]]:
    """Three primaries and a replica of each."""
    more = ("--cluster-enabled yes", "--cluster-node-timeout 2000", *settings)
    servers = tuple(RedisServer(folder / str(n), more) for n in range(6))
    try:
        for server in servers:
            server.start()
        places = [f"127.0.0.1:{server.port}" for server in servers]
        make = ["redis-cli", "-a", PASSWORD, "--no-auth-warning", "--cluster", "create", *places]
        subprocess.run([*make, "--cluster-replicas", "1", "--cluster-yes"], check=True, capture_output=True)
        _wait_for_replicas(servers)
        yield servers
    finally:
        for server in servers:
            server.kill()


def _wait_for_replicas(servers: Sequence[RedisServer]) -> None:
    until = time.monotonic() + START_S
    while True:
        roles, states = [], []
        for server in servers:
            with server.client as client:
                replication = client.info("replication")
                is_served = replication.get("slave0", {}).get("state") == "online"
                roles.append(replication["role"] == "slave" or is_served)
                states.append(b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO", disable_decoding=True))
                if replication["role"] == "slave":
                    roles.append(replication["master_link_status"] == "up")
        if all(roles) and all(states):
            return
        assert time.monotonic() < until, "the cluster did not come up"
        time.sleep(0.05)
