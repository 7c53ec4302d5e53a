"""
What the installed package says of itself: its version, and the files that it ships beside its code.

The files are the policies of markets and the experiments that run in them. In the repository they stand at the top, in
`policies/` and `experiments/`, and the package holds links to both; an installed package holds the files themselves.
This module is the only one that knows where they are.
"""

from pathlib import Path
from typing import Final

_SHIPPED: Final = Path(__file__).with_name("shipped")
POLICIES: Final = (_SHIPPED / "policies").resolve()
DEFAULT_POLICY: Final = POLICIES / "morocco.yaml"
DEFAULT_EXPERIMENTS: Final = (_SHIPPED / "experiments").resolve()


def policy_file(name: str | Path) -> Path:
    """
    The policy file that a person names: a path, or the name of a shipped policy without its ending, such as `strict`.

    A path that exists comes first. A name that nothing has is returned as it is: whoever reads it says what is missing.
    """
    given = Path(name)
    shipped = POLICIES / f"{name}.yaml"
    is_plain = given.name == str(name) and not given.suffix
    return shipped if is_plain and not given.exists() and shipped.is_file() else given


def sanad_version() -> str:
    """The installed version; `0+source` when the source tree runs without being installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("sanad")
    except PackageNotFoundError:
        return "0+source"
