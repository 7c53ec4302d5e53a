"""PostgreSQL for tests: a server of its own, and databases in it. `initdb` runs as nobody in particular, never root."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.servers import missing
from tests.serving.process import free_port

SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": "127.0.0.1",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "autovacuum": "off",
    "wal_keep_size": "256MB",
    "max_wal_senders": "4",
    "log_min_messages": "error",
}
PASSWORD: Final = "of-tests"


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    on_path = shutil.which("initdb")
    if not found and on_path is None:
        missing("found no PostgreSQL server; install Debian's package postgresql")
    return found[-1].parent if found else Path(str(on_path)).parent


def _account() -> pwd.struct_passwd:
    """Whom the server runs as: this user, or `postgres` where this user is root, which the server refuses."""
    return pwd.getpwnam("postgres") if os.getuid() == 0 else pwd.getpwuid(os.getuid())


@dataclass(slots=True)
class Postgres:
    """One server. `folder` holds its files; `port` is its own."""

    folder: Path
    port: int
    programs: Path
    process: subprocess.Popen[bytes] | None = None
    n_databases: int = 0
    settings: dict[str, str] = field(default_factory=lambda: dict(SETTINGS))

    def run(self, *arguments: str) -> None:
        """Run a program of PostgreSQL as the server's user."""
        command = [str(self.programs / arguments[0]), *arguments[1:]]
        done = subprocess.run(command, capture_output=True, text=True, **self._as_account())
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        options = [part for name, value in self.settings.items() for part in ("-c", f"{name}={value}")]
        command = [str(self.programs / "postgres"), "-D", str(self.folder), "-p", str(self.port), "-k", "", *options]
        with (self.folder.parent / f"log-{self.port}").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, **self._as_account())
        self.wait()

    def wait(self) -> None:
        """Wait until the server accepts connections."""
        until = time.monotonic() + 60
        asked = [str(self.programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(asked).returncode != 0:
            assert self.process is not None and self.process.poll() is None, self.log()
            assert time.monotonic() < until, f"PostgreSQL does not come up: {self.log()}"
            time.sleep(0.05)

    def log(self) -> str:
        """The end of what the server wrote."""
        return (self.folder.parent / f"log-{self.port}").read_text()[-2_000:]

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End the server: at once and in order, or as by a crash."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(how)
            self.process.wait()
            self.process = None

    def kill(self) -> None:
        """End the server and what it started as a loss of the machine does: nothing is written any more."""
        assert self.process is not None
        for child in _children(self.process.pid):
            with suppress(ProcessLookupError):  # a worker of the server may have ended by itself
                os.kill(child, signal.SIGKILL)
        self.stop(signal.SIGKILL)

    def pause(self) -> None:
        """Let the server and all that it started stand still; `go_on` ends it."""
        self._signal_all(signal.SIGSTOP)

    def go_on(self) -> None:
        """Go on after `pause`."""
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, which: signal.Signals) -> None:
        assert self.process is not None
        for pid in (self.process.pid, *_children(self.process.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, which)

    def url(self, database: str = "postgres", user: str = "sanad", password: str = PASSWORD) -> str:
        """The address of a database."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def sql(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run a statement as the owner of the server; its rows."""
        import psycopg

        with psycopg.connect(self.url(database, "postgres"), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def new_database(self) -> str:
        """An empty database; its name."""
        self.n_databases += 1
        name = f"state_{self.n_databases}"
        self.sql(f"CREATE DATABASE {name} OWNER sanad")
        return name

    def copy_of(self, database: str) -> str:
        """A copy of a database that nobody is connected to but idly; its name."""
        self.n_databases += 1
        name = f"state_{self.n_databases}"
        self.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")
        self.sql(f"CREATE DATABASE {name} OWNER sanad TEMPLATE {database}")
        return name

    def _as_account(self) -> dict[str, object]:
        if os.getuid() != 0:
            return {}
        account = _account()
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _children(pid: int) -> Sequence[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout
    return [int(line) for line in found.split()]


@contextmanager
def new_folder() -> Iterator[Path]:
    """A folder that the server's user can use; the ones of tests are their owner's alone."""
    folder = Path(tempfile.mkdtemp(prefix="sanad-postgres-"))
    try:
        shutil.chown(folder, _account().pw_uid, _account().pw_gid)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running() -> Iterator[Postgres]:
    """A server with the role `sanad`, which owns the databases that `new_database` makes."""
    programs = _programs()
    with new_folder() as folder:
        server = Postgres(folder / "data", free_port(), programs)
        secret = folder / "secret"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        server.run(
            "initdb", "-D", str(server.folder), "-U", "postgres", "-A", "scram-sha-256", "--pwfile", str(secret),
            "-E", "UTF8", "--no-locale", "--no-sync",
        )  # fmt: skip
        server.start()
        try:
            server.sql(f"CREATE ROLE sanad LOGIN PASSWORD '{PASSWORD}'")
            server.sql("GRANT CREATE ON DATABASE postgres TO sanad")
            yield server
        finally:
            server.stop(signal.SIGQUIT)
