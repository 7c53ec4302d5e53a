"""
What the Open Bandit Pipeline makes of the logs of `benchmarks/ope_logs.py`, as JSON: the values that ours must equal.

    python3.11 -m venv obp && obp/bin/pip install --no-deps --ignore-requires-python -r benchmarks/obp/pins.txt
    obp/bin/python benchmarks/obp/values.py --data ../shared/data/obd-sample --out tests/benchmarks/obp.json

obp pins packages that clash with ours and declares Python below 3.11, so it has an environment of its own.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from obp import ope

sys.path.insert(0, str(Path(__file__).parents[1]))
import ope_logs


def choices(log: ope_logs.ChoiceLog) -> dict[str, float]:
    """Value of each estimator by our name for it."""
    n, n_places = len(log.actions), len(log.policy)
    dist = np.broadcast_to(log.policy.T, (n, log.policy.shape[1], n_places)).copy()
    model = np.broadcast_to(log.expected[None, :, None], dist.shape).copy()
    told = {
        "reward": log.rewards, "action": log.actions, "position": log.places, "action_dist": dist,
    }  # fmt: skip
    weighed, modelled = told | {"pscore": log.logged}, told | {"estimated_rewards_by_reg_model": model}
    both = weighed | modelled
    return {
        "ips": ope.InverseProbabilityWeighting().estimate_policy_value(**weighed),
        "snips": ope.SelfNormalizedInverseProbabilityWeighting().estimate_policy_value(**weighed),
        "clipped": ope.InverseProbabilityWeighting(lambda_=ope_logs.CLIP).estimate_policy_value(**weighed),
        "direct": ope.DirectMethod().estimate_policy_value(**modelled),
        "doubly-robust": ope.DoublyRobust().estimate_policy_value(**both),
        "switch": ope.SwitchDoublyRobust(lambda_=ope_logs.CLIP).estimate_policy_value(**both),
    }


def pages(log: ope_logs.PageLog) -> dict[str, float]:
    """Value of each estimator of pages by our name for it."""
    n, k = log.actions.shape
    told = {
        "slate_id": np.repeat(np.arange(n), k), "reward": log.rewards.ravel(), "position": np.tile(np.arange(k), n),
    }  # fmt: skip
    logged, chosen = np.cumprod(log.logged, axis=1), np.cumprod(log.chosen, axis=1)

    def whole(values: np.ndarray) -> np.ndarray:
        return np.repeat(values[:, -1], k)

    of_page = {"pscore": whole(logged), "evaluation_policy_pscore": whole(chosen)}
    of_place = {
        "pscore_item_position": log.logged_place.ravel(),
        "evaluation_policy_pscore_item_position": log.chosen_place.ravel(),
    }
    cascade = {"pscore_cascade": logged.ravel(), "evaluation_policy_pscore_cascade": chosen.ravel()}
    model = {
        "action": log.actions.ravel(), "q_hat": log.expected.ravel(),
        "evaluation_policy_action_dist": np.ascontiguousarray(log.policy).ravel(),
    }  # fmt: skip
    n_actions = log.policy.shape[2]
    found = {
        "page-ips": ope.SlateStandardIPS(k).estimate_policy_value(**told, **of_page),
        "page-ips-normalised": ope.SelfNormalizedSlateStandardIPS(k).estimate_policy_value(**told, **of_page),
        "independent": ope.SlateIndependentIPS(k).estimate_policy_value(**told, **of_place),
        "independent-normalised": ope.SelfNormalizedSlateIndependentIPS(k).estimate_policy_value(**told, **of_place),
        "interaction": ope.SlateRewardInteractionIPS(k).estimate_policy_value(**told, **cascade),
        "interaction-normalised": ope.SelfNormalizedSlateRewardInteractionIPS(k).estimate_policy_value(
            **told, **cascade
        ),
        "cascade-dr": ope.SlateCascadeDoublyRobust(k, n_actions).estimate_policy_value(**told, **cascade, **model),
    }
    return {name: float(value) for name, value in found.items()}


def main() -> None:
    """Writes the values of every log."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/obd-sample"))
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    values = {"made choices": choices(ope_logs.made_choices()), "made pages": pages(ope_logs.made_pages())}
    for campaign in ("all", "men", "women"):
        for log, judged in (("random", "bts"), ("bts", "random")):
            values[f"{log} judges {judged}, {campaign}"] = choices(
                ope_logs.open_bandit(args.data, log, judged, campaign)
            )
    args.out.write_text(json.dumps(values, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
