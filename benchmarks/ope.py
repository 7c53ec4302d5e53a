"""
Off-policy estimators against three kinds of truth.

    python benchmarks/ope.py obp [--data ../shared/data]     every estimator of obp 0.5.7, to the last digits
    python benchmarks/ope.py coat [--data ../shared/data]    the order of policies, against randomly exposed ratings
    python benchmarks/ope.py truth [--runs 2000]             bias and coverage where the value is known

`benchmarks/obp/values.py` wrote what obp says into tests/benchmarks/obp.json. docs/evaluation.md holds the results.
"""

import argparse
import gzip
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
import ope_logs
from ope_truth import TABLES, run_table

from eval.ope import Rounds, Target, choice_estimators, page_estimators, point

FROZEN = Path(__file__).parents[1] / "tests" / "benchmarks" / "obp.json"
N_COAT_SPLITS = 20


def of_choices(log: ope_logs.ChoiceLog) -> dict[str, float]:
    """Our value of each estimator of choices."""
    n = np.arange(len(log.actions))
    rounds = Rounds(
        people=n, slates=n, positions=log.places + 1, actions=log.actions, rewards=log.rewards, logged=log.logged,
        placed=log.logged, action_ids=[str(a) for a in range(log.policy.shape[1])],
    )  # fmt: skip
    chosen = log.policy[log.places, log.actions]
    target = Target(
        chosen=chosen,
        placed=chosen,
        direct=(log.policy @ log.expected)[log.places],
        predicted=log.expected[log.actions],
    )
    return {name: point(terms, len(rounds)) for name, terms in choice_estimators(rounds, target, ope_logs.CLIP).items()}


def of_pages(log: ope_logs.PageLog) -> dict[str, float]:
    """Our value of each estimator of pages."""
    n, k = log.actions.shape
    rounds = Rounds(
        people=np.repeat(np.arange(n), k), slates=np.repeat(np.arange(n), k), positions=np.tile(np.arange(k), n) + 1,
        actions=log.actions.ravel(), rewards=log.rewards.ravel(), logged=log.logged.ravel(),
        placed=log.logged_place.ravel(), action_ids=[str(a) for a in range(log.policy.shape[2])],
    )  # fmt: skip
    target = Target(
        chosen=log.chosen.ravel(), placed=log.chosen_place.ravel(),
        direct_rest=(log.policy * log.expected).sum(axis=2).ravel(),
        predicted_rest=np.take_along_axis(log.expected, log.actions[:, :, None], 2).ravel(),
    )  # fmt: skip
    return {name: point(terms, n) for name, terms in page_estimators(rounds, target).items()}


def against_obp(data: Path) -> int:
    """Prints both values of every estimator; the number of those that differ."""
    folder, n_wrong = data / "obd-sample", 0
    for title, frozen in json.loads(FROZEN.read_text("utf-8")).items():
        ours = _ours(title, folder)
        print(f"\n{title}")
        for name, value in frozen.items():
            is_equal = bool(np.isclose(ours[name], value, rtol=1e-12, atol=0))
            n_wrong += not is_equal
            print(f"  {name:24} {ours[name]:.15g}  obp {value:.15g}{'' if is_equal else '  DIFFERS'}")
    for campaign in ("all", "men", "women"):
        gains = {log: ope_logs.mean_reward(folder, log, campaign) for log in ("random", "bts")}
        print(f"\nclicks in their own logs, {campaign}: " + ", ".join(f"{log} {g:.4f}" for log, g in gains.items()))
    print(f"\n{n_wrong} values differ.")
    return n_wrong


def _ours(title: str, folder: Path) -> dict[str, float]:
    if title == "made choices":
        return of_choices(ope_logs.made_choices())
    if title == "made pages":
        return of_pages(ope_logs.made_pages())
    log, _, judged = title.partition(" judges ")
    judged, _, campaign = judged.partition(", ")
    return of_choices(ope_logs.open_bandit(folder, log, judged, campaign))


# ---- Coat: the order of policies ----


def coat(data: Path) -> int:
    """
    How well each estimate orders policies that learned from half of the self-selected ratings, judged on the other
    half with the given propensities, against the uniformly random test ratings.
    """
    folder = data / "coat"
    train, test, chance = (_matrix(folder / f"{name}.ascii.gz") for name in ("train", "test", "propensities"))
    taus: dict[str, list[float]] = {}
    for seed in range(N_COAT_SPLITS):
        rng = np.random.default_rng(seed)
        users, items = np.nonzero(train)
        learns = rng.random(len(users)) < 0.5
        policies = _coat_policies(users[learns], items[learns], train[users[learns], items[learns]], train.shape, rng)
        truth = [_random_exposure(policy, test) for policy in policies]
        u, i = users[~learns], items[~learns]
        found = [_coat_values(policy, train[u, i] >= 4, chance[u, i] / 2, u, i) for policy in policies]
        for name in found[0]:
            taus.setdefault(name, []).append(_kendall([value[name] for value in found], truth))
    for name, values in taus.items():
        half = 1.96 * np.std(values, ddof=1) / np.sqrt(len(values))
        print(f"{name:24} Kendall tau {np.mean(values):.3f} ± {half:.3f} over {len(values)} splits")
    return 0


def _matrix(path: Path) -> np.ndarray:
    with gzip.open(path, "rt", encoding="utf-8") as text:
        return np.loadtxt(text)


def _coat_policies(
    users: np.ndarray, items: np.ndarray, ratings: np.ndarray, shape: tuple[int, int], rng: np.random.Generator
) -> list[np.ndarray]:
    """(n_users, n_items) probabilities of each policy: by popularity, likes, factors and chance; flat and sharp."""
    n = np.bincount(items, minlength=shape[1])
    liked = np.bincount(items, ratings >= 4, shape[1])
    rate = (liked + 5 * liked.sum() / n.sum()) / (n + 5)
    mean = np.bincount(users, ratings, shape[0]) / np.maximum(np.bincount(users, minlength=shape[0]), 1)
    centred = np.zeros(shape)
    centred[users, items] = ratings - mean[users]
    left, size, right = np.linalg.svd(centred, full_matrices=False)
    low = (left[:, :8] * size[:8]) @ right[:8]
    standard = [(s - s.mean()) / s.std() for s in (n * 1.0, rate, -rate, np.log1p(liked), rng.normal(size=shape[1]))]
    scores = [*(np.broadcast_to(s, shape) for s in standard), low / low.std(), low / low.std() + standard[1]]
    return [ope_logs.softmax(sharpness * score) for score in scores for sharpness in (0.5, 1.5)]


def _random_exposure(policy: np.ndarray, test: np.ndarray) -> float:
    """The share of ratings of 4 and more under a policy, where exposure was uniform."""
    users, items = np.nonzero(test)
    weights = policy[users, items]
    return float(weights @ (test[users, items] >= 4) / weights.sum())


def _coat_values(
    policy: np.ndarray, likes: np.ndarray, logged: np.ndarray, users: np.ndarray, items: np.ndarray
) -> dict[str, float]:
    n, chosen = np.arange(len(users)), policy[users, items]
    rounds = Rounds(
        people=users, slates=n, positions=np.ones(len(n), np.int64), actions=items, rewards=likes.astype(float),
        logged=logged, placed=logged, action_ids=[str(i) for i in range(policy.shape[1])],
    )  # fmt: skip
    found = choice_estimators(rounds, Target(chosen=chosen, placed=chosen), 10.0)
    naive = float(chosen @ likes / chosen.sum())
    return {"without propensities": naive} | {name: point(terms, len(rounds)) for name, terms in found.items()}


def _kendall(first: list[float], second: list[float]) -> float:
    a, b = np.sign(np.subtract.outer(first, first)), np.sign(np.subtract.outer(second, second))
    n = len(first)
    return float((a * b).sum() / (n * (n - 1)))


def main() -> None:
    """Runs one comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("obp", "coat", "truth"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--runs", type=int, default=2_000)
    args = parser.parse_args()
    if args.what == "truth":
        for name in TABLES:
            print(run_table(name, args.runs))
        return
    sys.exit(min(1, against_obp(args.data) if args.what == "obp" else coat(args.data)))


if __name__ == "__main__":
    main()
