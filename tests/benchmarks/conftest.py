"""The programs of `benchmarks` import each other by name, as they do when one is started: so do their tests."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
