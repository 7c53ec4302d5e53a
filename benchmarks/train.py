"""
Trains an artifact from a dataset folder and prints the seconds of each step and the peak memory.

    python benchmarks/train.py DATA OUT [--encoder e5|use|none] [--assume-tier R0] [--holdout-days 3]

Run it twice to see the difference that cached embeddings make. Nothing is asserted: machines differ.
"""

import argparse
import os
import platform
import resource
import sys
from pathlib import Path

from recsys.clock import now
from recsys.errors import SanadError
from training.params import TrainParams
from training.text.encoder import EncoderParams
from training.train import Trained, run


def main() -> int:
    """Trains, prints, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--encoder", default="e5", help="e5, use, none, or a model for sentence-transformers")
    parser.add_argument("--assume-tier", default=None)
    parser.add_argument("--holdout-days", type=float, default=3.0)
    options = parser.parse_args()
    params = TrainParams(
        encoder=None if options.encoder == "none" else EncoderParams(model=options.encoder),
        assume_tier=options.assume_tier,
        holdout_days=options.holdout_days,
    )
    try:
        trained = run(options.data, options.out, params, now())
    except SanadError as error:
        print(error, file=sys.stderr)
        return 2
    print_result(trained)
    return 0


def print_result(trained: Trained) -> None:
    """The machine, the sizes, the seconds of each step, the total and the peak."""
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for name, count in trained.manifest.counts.items():
        print(f"  {name:22} {count:12,}")
    for name, seconds in trained.seconds.items():
        print(f"  {name:22} {seconds:12.1f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2  # kibibytes on Linux
    print(f"  {'total':22} {sum(trained.seconds.values()):12.1f} s\n  {'peak memory':22} {peak:12.2f} GiB")


if __name__ == "__main__":
    sys.exit(main())
