"""
What a feed of 20 costs over HTTP: beside a frozen earlier commit, and as the catalogue grows.

    python benchmarks/serve.py ARTIFACT                                        # this checkout alone
    python benchmarks/serve.py ARTIFACT --against CHECKOUT --against-artifact DIR [DIR...]
    python benchmarks/serve.py ARTIFACT --growth 3000 100000 1000000           # makes the artifacts that are missing

Every service is a process of its own, kept on one core; the client stays on another. Two services are asked for the
pages of the same people, one right after the other and in alternating order: the median of the ratios of their
processor times does not depend on what else the machine does, and is the result. An artifact of `--against-artifact`
is paired with the artifact of as many items. Times on the clock inform only. A fixed piece of work is timed beside
(`calibration_ms`): half a loop of Python, half NumPy.

`--against` names a checkout of an earlier commit (`git worktree add DIR COMMIT`), run by its `.venv` if it has one.
Results go to a JSON file after every step; `--plot-only` prints and draws it again. Runs on Linux.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
from enlarge import whole_number, write_enlarged
from serve_measure import KINDS, Numbers, alone, closed_loop, described, memory_of, open_loop, pair
from serve_process import CORES, ROOT, Contender, disk_bytes, running

from recsys.console import progress
from recsys.progress import Progress

FLOORS: Final = {20_000: (2.1, 22.5), 100_000: (3.2, 29.5)}
"""
By number of items, the bare floor and the feed of commit 6782c16 over HTTP, in equally scaled milliseconds of
processor. The floor is a route that answers a constant, the search of 20 items and one fold-in. Both were measured
once; the earlier commit is the ruler by which the floor is known on another machine.
"""
FLOOR_COMMIT: Final = "6782c16"
PAIRED: Final = (
    "processor a feed, ms (p50; p99)", "pages", "first", "second", "second/first [95 %]", "calibration, ms",
)  # fmt: skip
ALONE: Final = (
    "alone", "ms a feed (p50; p99)", "calibration, ms", "feeds/s a core",
    "open loop: feeds/s, ms on the clock (p50; p99)", "start, again, s", "private MB ready, after",
    "resident MB after", "kB a page",
)  # fmt: skip
SHARE_OF_SATURATION: Final = 0.6
N_CONNECTIONS: Final = 4
N_OPEN: Final = 32  # connections of the open loop, so that one late page does not hold up others


def main() -> None:
    """Measures what is asked for, writes the JSON file after every step, and prints one table."""
    asked = _options().parse_args()
    if not asked.plot_only:
        with progress(is_quiet=False) as on_progress:
            measure(asked, on_progress)
    elif not asked.json.is_file():
        raise SystemExit(f"found no {asked.json}, expected the results of a run; run without --plot-only first")
    results = json.loads(asked.json.read_text("utf-8"))
    print_table(results)
    if asked.plot:
        from serve_plot import draw

        draw(results, asked.plot)


def _options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("artifact", type=Path)
    options.add_argument("--against", type=Path, help="a checkout of an earlier commit")
    options.add_argument("--against-artifact", type=Path, nargs="+", default=[], help="made by the earlier commit")
    options.add_argument("--growth", type=whole_number, nargs="*", default=[], help="numbers of items")
    options.add_argument("--folder", type=Path, default=ROOT / "var" / "serve", help="where larger artifacts are kept")
    options.add_argument("--people", type=whole_number, default=100, help="of each pair, with three pages each")
    options.add_argument("--feeds", type=whole_number, default=1_000, help="of each service alone")
    options.add_argument("--kinds", type=whole_number, default=500, help="kinds of people among them")
    options.add_argument("--no-load", action="store_true", help="measure no closed and open loop")
    options.add_argument("--json", type=Path, default=ROOT / "var" / "serve" / "results.json")
    options.add_argument("--plot", type=Path, help="such as docs/serving.svg")
    options.add_argument("--plot-only", action="store_true", help="measure nothing: draw from the JSON file")
    return options


def measure(asked: argparse.Namespace, on_progress: Progress) -> None:
    """Every pair, and every contender alone; the smallest first, so that what is quick is there early."""
    if not CORES:
        raise SystemExit("found no way to read the processor time of other processes here; run this on Linux")
    os.sched_setaffinity(0, {CORES[0]})
    if bool(asked.against) != bool(asked.against_artifact):
        raise SystemExit("found one of --against and --against-artifact, expected both or none; name the other one too")
    here = [_here(asked.artifact.resolve()), *(_grown(asked, n, on_progress) for n in sorted(asked.growth))]
    base, *grown = here
    before = [_contender(asked.against.resolve(), path.resolve()) for path in asked.against_artifact]
    results: Numbers = {
        "machine": f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "commit": _commit(ROOT),
        "pairs": [],
        "alone": [],
    }
    pairs = [*_same_size(before, here), *((base, other) for other in grown)]
    asked.json.parent.mkdir(parents=True, exist_ok=True)
    for step in sorted([*pairs, *((one,) for one in (*before, *here))], key=_largest):
        if len(step) == 2:
            results["pairs"].append(measure_pair(step, asked.people, on_progress))
        else:
            results["alone"].append(measure_alone(step[0], asked, on_progress))
        asked.json.write_text(json.dumps(results, indent=1))


def _largest(step: Sequence[Contender]) -> int:
    return max(contender.n_items for contender in step)


def _same_size(before: Sequence[Contender], here: Sequence[Contender]) -> list[tuple[Contender, Contender]]:
    by_size = {contender.n_items: contender for contender in here}
    missing = [str(contender.artifact) for contender in before if contender.n_items not in by_size]
    if missing:
        raise SystemExit(
            f"found no artifact of as many items as {', '.join(missing)}, expected one; add its number to --growth"
        )
    return [(contender, by_size[contender.n_items]) for contender in before]


def measure_pair(two: tuple[Contender, Contender], n_people: int, on_progress: Progress) -> Numbers:
    """Two services at once, over new states, asked for the same pages."""
    common = sorted({*two[0].user_ids} & {*two[1].user_ids})
    people = np.random.default_rng(7).permutation(common)[:n_people].tolist()
    with (
        _scratch() as folder,
        running(two[0], folder / "first") as first,
        running(two[1], folder / "second") as second,
    ):
        return pair((first, second), people, on_progress)


def measure_alone(contender: Contender, asked: argparse.Namespace, on_progress: Progress) -> Numbers:
    """A first start, a start over the same state, pages of many kinds of people, load, and what is then on disk."""
    on_progress(f"{contender.name}, start", 0, None)
    people = np.random.default_rng(11).permutation(contender.user_ids)
    people = np.resize(people, asked.feeds).tolist()
    numbers: Numbers = {"load": os.getloadavg()[0]}
    with _scratch() as folder:
        state = folder / "state"
        with running(contender, state) as service:
            numbers |= described(service)
            numbers["first_start_s"] = round(service.start_s, 2)
            numbers["first_ready_mb"] = memory_of(service)
        empty = disk_bytes(state)
        with running(contender, state) as service:
            numbers["start_s"] = round(service.start_s, 2)
            numbers |= alone(service, people, asked.feeds, asked.kinds, on_progress)
            if not asked.no_load:
                numbers["saturated"] = closed_loop(service, people, N_CONNECTIONS, on_progress)
                rate = SHARE_OF_SATURATION * numbers["saturated"]["feeds_a_second"]
                numbers["open_loop"] = open_loop(service, people, rate, N_OPEN, on_progress)
        n_pages = asked.feeds * (1 if asked.no_load else 3)
        numbers["bytes_a_page"] = round((disk_bytes(state) - empty) / n_pages)
    numbers["artifact_mb"] = round(disk_bytes(contender.artifact) / 1e6)
    return numbers


def _here(artifact: Path) -> Contender:
    return _contender(ROOT, artifact)


def _contender(checkout: Path, artifact: Path) -> Contender:
    if not (artifact / "manifest.json").is_file():
        raise SystemExit(f"found no manifest.json in {artifact}, expected an artifact; make one with `sanad train`")
    if not (checkout / "serving" / "run.py").is_file():
        raise SystemExit(f"found no serving/run.py in {checkout}, expected a checkout of Sanad; name another one")
    contender = Contender("", checkout, artifact)
    return Contender(f"{_commit(checkout)} {contender.n_items:,}", checkout, artifact)


def _grown(asked: argparse.Namespace, n_items: int, on_progress: Progress) -> Contender:
    """An artifact of so many items, made from the real one if it is not in the folder."""
    folder = asked.folder / f"artifact-{n_items}"
    if not (folder / "manifest.json").exists():
        on_progress(f"make an artifact of {n_items:,} items", 0, None)
        write_enlarged(asked.artifact, folder, n_items)
    return _here(folder.resolve())


def _commit(checkout: Path) -> str:
    told = subprocess.run(
        ["git", "describe", "--always", "--exclude=*", "--dirty=+"],
        cwd=checkout, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return told.stdout.strip() or "unknown"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder for states and logs, which is removed; not in memory, so that bytes on disk are on disk."""
    (ROOT / "var").mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="serve-", dir=ROOT / "var"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def print_table(results: Numbers) -> None:
    """Everything as two Markdown tables: pairs, then each service alone. A star marks compiled loops."""
    print(f"\n{results['machine']}, commit {results['commit']}; * compiled loops (`make native`)\n")
    _print_rows([PAIRED, *(cells for pair_ in results["pairs"] for cells in _cells_of_pair(pair_))])
    print()
    _print_rows([ALONE, *(_cells_alone(row) for row in results["alone"])])


def _print_rows(rows: Sequence[Sequence[str]]) -> None:
    for cells in (rows[0], ["---"] * len(rows[0]), *rows[1:]):
        print("| " + " | ".join(cells) + " |")


def _cells_of_pair(pair_: Numbers) -> Iterator[list[str]]:
    first, second = pair_["services"]
    name = f"{_name(first)} and {_name(second)}"
    for kind in (*KINDS, "all"):
        costs = [service[kind] if kind == "all" else service[kind]["cpu_ms"] for service in (first, second)]
        ratio = pair_["ratio"][kind]
        told = f"{ratio['median']:.3f} [{ratio['low']:.3f}, {ratio['high']:.3f}]"
        yield [name, kind, *(_p50_p99(cost) for cost in costs), told, f"{pair_['calibration_ms']['p50']:.2f}"]
    if (floor := times_floor(pair_)) is not None:
        yield ["times the bare floor", KINDS[-1], *(f"{times:.1f}" for times in floor), "", ""]


def times_floor(pair_: Numbers) -> tuple[float, float] | None:
    """How many times the bare floor both services of a pair cost; None where the floor is not known."""
    first = pair_["services"][0]
    if not first["name"].startswith(FLOOR_COMMIT) or first["n_items"] not in FLOORS:
        return None
    floor, feed = FLOORS[first["n_items"]]
    return feed / floor, feed / floor * pair_["ratio"][KINDS[-1]]["median"]


def _cells_alone(row: Numbers) -> list[str]:
    memory, loop, saturated = row["memory_mb"], row.get("open_loop"), row.get("saturated")
    return [
        _name(row),
        _p50_p99(row["cpu_ms"]),
        f"{row['calibration_ms']['p50']:.2f}",
        f"{saturated['feeds_a_core']:.0f}" if saturated else "",
        f"{loop['rate']:.0f}: {_p50_p99(loop['clock_ms'])}" if loop else "",
        f"{row['first_start_s']:.1f}, {row['start_s']:.1f}",
        f"{memory[0]['private']:,.0f}, {memory[-1]['private']:,.0f}",
        f"{memory[-1]['resident']:,.0f}",
        f"{row['bytes_a_page'] / 1e3:.1f}",
    ]


def _name(service: Numbers) -> str:
    return service["name"] + " *" * (service.get("loops") == "compiled")


def _p50_p99(values: dict[str, float]) -> str:
    return f"{values['p50']:.1f}; {values['p99']:.1f}"


if __name__ == "__main__":
    main()
