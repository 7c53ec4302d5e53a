"""
Trees (LightGBM) as text and back.
"""

from typing import Any


def open_booster(text: str) -> Any:
    """Trees from their text. Raises ValueError when it is none."""
    from lightgbm import Booster  # half a second and 60 MB: only where there is a ranker
    from lightgbm.basic import LightGBMError

    try:
        return Booster(model_str=text)
    except LightGBMError as error:
        raise ValueError(f"found trees that cannot be read ({error}), expected the text that was written") from error
