"""The settings of a training run."""

from dataclasses import dataclass, field

from recsys.clock import Millis
from recsys.errors import ConfigError
from recsys.models.popularity import PopularityParams
from recsys.models.text import TextParams
from training.labels.predict import LabelParams
from training.models.budget import ALL_MODELS
from training.models.ranker_heads import RankerParams
from training.models.settings import BlendParams
from training.text.encoder import EncoderParams
from training.validate import MAX_BAD_SHARE


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainParams:
    """
    `holdout_days`: the last days of events are held out for `sanad eval`; 0 = learn from everything. `holdout_from`:
    the instant itself instead, for sets with a published split. `encoder` None = no text space (as when titles are
    missing or only ids). `labels` None = no predicted labels; there are none without an encoder. `market` leads the
    safe feed. `ranker` None = no learned ranker. `assume_tier`: see `training.validate.clean`.
    """

    holdout_days: float = 3.0
    holdout_from: Millis | None = None
    seed: int = 0
    market: str = "MA"
    assume_tier: str | None = None
    max_bad_share: float = MAX_BAD_SHARE
    blend: BlendParams = field(default_factory=BlendParams)
    text: TextParams = field(default_factory=TextParams)
    popularity: PopularityParams = field(default_factory=PopularityParams)
    encoder: EncoderParams | None = field(default_factory=EncoderParams)
    labels: LabelParams | None = field(default_factory=LabelParams)
    ranker: RankerParams | None = field(default_factory=RankerParams)


def check_params(params: TrainParams) -> None:
    """Raises ConfigError with every value that is out of range."""
    ials, blend = params.blend.ials, params.blend
    ranges: dict[str, tuple[object, bool, str]] = {
        "holdout days": (params.holdout_days, params.holdout_days >= 0, "0 or more"),
        "embedding size": (ials.embedding_size, ials.embedding_size >= 1, "1 or more"),
        "reg": (ials.reg, ials.reg > 0, "above 0"),
        "unobserved": (ials.unobserved, ials.unobserved > 0, "above 0"),
        "validation share": (blend.validation_share, 0 < blend.validation_share < 1, "above 0 and below 1"),
        "epochs": (ials.epochs, ials.epochs >= 1, "1 or more"),
    }
    unknown = [name for name in blend.models if name not in ALL_MODELS]
    ranges["models"] = (", ".join(unknown), not unknown, f"some of {', '.join(ALL_MODELS)}")
    problems = [
        f"found {name} {value}, expected {expected}; correct it"
        for name, (value, is_fine, expected) in ranges.items()
        if not is_fine
    ]
    if problems:
        raise ConfigError(*problems)
