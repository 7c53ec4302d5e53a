"""
Fitting preference models to a dataset, choosing their settings, and evaluating them on fixed splits.

`choose_blend` is the recipe: settings of the base models of `MODELS` within a `Budget`, their weights on validation
users, and the re-ranker. `fit_blend` follows it on a dataset, `fit_matrix` on a matrix, `fit_matrix_blend` with the
shipped settings; `run_split` measures it on a fixed split. `ranker` fits the heads; `tune` writes settings to a file.
"""

from training.models.bench import BenchReport, run_split
from training.models.blend import FittedBlend, fit_blend
from training.models.budget import BUDGETS, Budget
from training.models.matrix_blend import fit_matrix, fit_matrix_blend
from training.models.recipe import ChosenBlend, choose_blend
from training.models.registry import MODELS, ModelSpec, TrainingMatrix
from training.models.settings import BlendParams

__all__ = [
    "BUDGETS",
    "MODELS",
    "BenchReport",
    "BlendParams",
    "Budget",
    "ChosenBlend",
    "FittedBlend",
    "ModelSpec",
    "TrainingMatrix",
    "choose_blend",
    "fit_blend",
    "fit_matrix",
    "fit_matrix_blend",
    "run_split",
]
