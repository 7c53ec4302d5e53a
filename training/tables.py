"""Reading and writing dataset folders, for whoever trains: see `recsys.tables`, which evaluation reads with too."""

from recsys.tables import DTYPES, UNREADABLE, Dataset, read_dataset, reading, scan, write_dataset

__all__ = ["DTYPES", "UNREADABLE", "Dataset", "read_dataset", "reading", "scan", "write_dataset"]
