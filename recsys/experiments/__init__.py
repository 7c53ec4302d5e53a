"""
Experiments: files that are checked as a whole, and the assignment of people to variants.

An experiment can only tighten limits and move weights within bounds. docs/experiments.md explains the files.
"""

from recsys.experiments.assignment import Assignment, assign
from recsys.experiments.files import FolderCheck, check_folder, load_experiments
from recsys.experiments.payload import Experiments

__all__ = ["Assignment", "Experiments", "FolderCheck", "assign", "check_folder", "load_experiments"]
