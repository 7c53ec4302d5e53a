"""
What the engine's pages are worth to people of worlds whose truth is known, beside the best and other rankings.

    python benchmarks/worth.py [--seeds 20261120] [--items 3000] [--people 1000] [--affinity 0 .4 1.2]
    python benchmarks/worth.py --artifact var/artifact --data var/data
    python benchmarks/worth.py --weights all=0,complete=8      # for trial: other weights of the policy
    python benchmarks/worth.py --reactions 200                 # newcomers after 3, 10, 30, 60 videos
    python benchmarks/worth.py --yardsticks --seeds 1 2 3      # which measure orders rankers as their worth does

Each world is made and trained on once. Then a page of 20 is planned for everybody under the whole policy, with an empty
ledger, and without what they have seen by the log. docs/performance.md explains the numbers. The worlds are synthetic:
this shows mechanisms, and nothing about real people.
"""

import argparse
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from threadpoolctl import threadpool_limits
from worth_pages import engine_of, serve
from worth_reactions import after_reactions
from worth_tables import (
    Compared,
    Numbers,
    compare,
    costs,
    line,
    measure,
    newcomers,
    percent,
    print_costs,
    print_groups,
    print_rankings,
)
from worth_worlds import ROOT, RULES, JudgedWorld, commit, open_world, weighted, world_of
from worth_yardsticks import print_taus, yardsticks

from eval.simulation.world.params import WorldParams
from eval.simulation.worth import offer_to, page_worth
from recsys.policy.checks import load_market
from recsys.policy.schema import Market
from recsys.types import Ids, Reals

DEFAULT: Final = WorldParams()
RULE_PEOPLE: Final = 300
"""For how many people the engine is asked again without each rule."""


def main() -> None:
    """Measures every world that is asked for, then prints what they have in common."""
    asked = _options().parse_args()
    if asked.plot and (asked.yardsticks or not asked.reactions):
        raise SystemExit(
            "found --plot without --reactions, or with --yardsticks, which judges none; expected --reactions alone"
            ", as in --reactions 120"
        )
    market = weighted(load_market(asked.policy), asked.weights)
    results: dict[str, Numbers] = {}
    print(f"commit {commit()}, weights {dict(market.weights)}")
    with threadpool_limits(1):
        for seed in asked.seeds:
            for affinity in asked.affinity:
                world = _world(asked, seed, affinity)
                name = (
                    f"seed {seed}, {world.params.n_items} videos, {world.params.n_users} people, affinity {affinity:g}"
                )
                results[name] = yardsticks(world, market) if asked.yardsticks else judge(world, market, asked)
    if asked.yardsticks:
        print_taus(results)
    elif len(results) > 1:
        _print_summary(results)
    if asked.plot:
        from worth_plot import draw

        draw(results, asked.plot)
    if asked.json:
        asked.json.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1))


def _options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", type=int, nargs="+", default=[DEFAULT.seed])
    options.add_argument("--items", type=int, default=DEFAULT.n_items)
    options.add_argument("--people", type=int, default=DEFAULT.n_users)
    options.add_argument("--events", type=int, help="default: 100 for each person")
    options.add_argument("--affinity", type=float, nargs="+", default=[DEFAULT.local_affinity])
    options.add_argument("--encoder", choices=("encoder", "none"), default="encoder", help="none trains without texts")
    options.add_argument("--fresh", action="store_true", help="train again where an artifact is kept")
    options.add_argument("--folder", type=Path, default=ROOT / "var" / "worth", help="where worlds are kept")
    options.add_argument("--artifact", type=Path, help="measure this artifact; needs --data, and the seed of its world")
    options.add_argument("--data", type=Path, help="the data that the artifact was trained from")
    options.add_argument("--policy", type=Path, default=ROOT / "policies" / "morocco.yaml")
    options.add_argument("--weights", default="", help="such as complete=8,cf=0; all=0 sets all weights first")
    options.add_argument("--rules", type=int, default=RULE_PEOPLE, help="people for the costs of rules; 0 = none")
    options.add_argument("--reactions", type=int, default=0, help="newcomers whose pages are judged as they react")
    options.add_argument("--yardsticks", action="store_true", help="compare measures of rankers with their true worth")
    options.add_argument("--plot", type=Path, help="draw what --reactions found, as SVG or PNG")
    options.add_argument("--json", type=Path, help="write every number there")
    return options


def _world(asked: argparse.Namespace, seed: int, affinity: float) -> JudgedWorld:
    n_events = asked.events or 100 * asked.people
    params = WorldParams(
        seed=seed, n_items=asked.items, n_users=asked.people, n_events=n_events, local_affinity=affinity
    )
    if (asked.artifact is None) != (asked.data is None):
        raise SystemExit("found one of --artifact and --data, expected both or none; name the other one too")
    if asked.artifact is not None:
        return open_world(params, asked.data, asked.artifact)
    return world_of(params, asked.folder, asked.encoder, is_fresh=asked.fresh)


def judge(world: JudgedWorld, market: Market, asked: argparse.Namespace) -> Numbers:
    """Every number of one world, printed as it is measured."""
    everybody = np.arange(len(world.users), dtype=np.int32)
    served = serve(world, engine_of(world, market), everybody)
    compared = compare(world, served)
    numbers = measure(world, compared)
    print_rankings("people with a history", numbers["rankings"])
    as_new = serve(world, engine_of(world, market, has_histories=False), everybody, has_seen=False)
    numbers["newcomers"] = newcomers(world, compare(world, as_new))
    print_rankings("newcomers", numbers["newcomers"])
    print_groups("share of languages on pages", numbers["languages"])
    print_groups("share of local videos", numbers["locality"])
    print_groups("doses, of 20 places", numbers["safety"])
    if asked.reactions:
        numbers["reactions"] = after_reactions(world, market, asked.reactions)
    for alert in sorted({*served.alerts, *as_new.alerts}):
        print(f"alert of the engine: {alert}")
    if asked.rules:
        numbers["costs"] = _costs(world, market, compared, everybody[: asked.rules])
        print_costs(numbers["costs"])
    return numbers


def _costs(world: JudgedWorld, market: Market, compared: Compared, people: Ids) -> Numbers:
    """What each rule costs these people, who are the first of those compared."""
    without: dict[str, Reals] = {}
    for name, change in RULES.items():
        served = serve(world, engine_of(world, change(market)), people)
        offers = [offer_to(world.truth, n, world.counted, served.is_eligible[n]) for n in people.tolist()]
        without[name] = np.array([page_worth(*pair) for pair in zip(offers, served.pages, strict=True)])
    theirs = {name: values[: len(people)] for name, values in compared.worth.items()}
    return costs(theirs["random"], theirs["best"], theirs["engine"], without, world.params.seed)


def _print_summary(results: dict[str, Numbers]) -> None:
    """The gains of every world, and the mean over worlds."""
    columns = {
        "engine": ("rankings", "engine"),
        "popularity": ("rankings", "popularity"),
        "newcomers": ("newcomers", "engine"),
        "their popularity": ("newcomers", "popularity"),
    }
    print("\n" + line("gain", list(columns)))
    for name, numbers in results.items():
        print(line(name[:31], [percent(numbers[table][row]["gain"]) for table, row in columns.values()]))
    means = [
        np.mean([numbers[table][row]["gain"].mean for numbers in results.values()]) for table, row in columns.values()
    ]
    print(line("mean", [percent(float(mean)) for mean in means]))


if __name__ == "__main__":
    main()
