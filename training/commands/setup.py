"""What the commands that encode or fit do before their heavy imports."""

import os

from recsys.extras import require_extra


def prepare_training(command: str) -> None:
    """
    Raises ConfigError when a package of training is missing.

    Sets HF_HUB_OFFLINE unless it is set: the default encoder is in a package, and no library may ask a hub for it.
    """
    require_extra("train", command)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
