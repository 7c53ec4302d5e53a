"""
Data files as frames, for training and evaluation: dataset folders, their checks, and the list of people to leave out.

`recsys.data.impressions` turns a log into rows for the ranker, and `recsys.data.checks` holds the checks of a table.
"""

from recsys.data.forgotten import read_forgotten, training_cutoffs, write_forgotten
from recsys.data.tables import Dataset, check_unused, read_dataset, reading, write_dataset

__all__ = [
    "Dataset",
    "check_unused",
    "read_dataset",
    "read_forgotten",
    "reading",
    "training_cutoffs",
    "write_dataset",
    "write_forgotten",
]
