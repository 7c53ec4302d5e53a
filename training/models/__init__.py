"""
Fitting preference models to a dataset, choosing their settings, and evaluating them on fixed splits.

`fit_blend` fits the base models of `MODELS`, their weights on validation users, and the re-ranker; `fit_matrix_blend`
fits a blend to a matrix; `ranker` fits the heads. `search_models` chooses settings on a matrix, `tune` on a dataset;
`run_split` evaluates all on a fixed split.
"""

from training.models.bench import BenchReport, run_split
from training.models.blend import BlendParams, FittedBlend, fit_blend
from training.models.matrix_blend import fit_matrix_blend
from training.models.registry import MODELS, ModelSpec, TrainingMatrix
from training.models.search import SearchResult, search_models

__all__ = [
    "MODELS",
    "BenchReport",
    "BlendParams",
    "FittedBlend",
    "ModelSpec",
    "SearchResult",
    "TrainingMatrix",
    "fit_blend",
    "fit_matrix_blend",
    "run_split",
    "search_models",
]
