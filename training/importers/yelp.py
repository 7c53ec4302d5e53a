"""
The Yelp Open Dataset (academic use, not redistributed here): JSON Lines `*review.json` and `*business.json`.
Source: https://business.yelp.com/data/resources/open-dataset/ and its `Dataset_User_Agreement`.

A review of 4 stars and above becomes `like`, of 2 and below `not_interested`, of 3 a `view`; the stars are in
`events.value`. A business is an item with its name and categories, by itself as the creator. Texts of reviews, names of
people and addresses are left out.
"""

from pathlib import Path

from training.importers.common import ImportReport, all_needed, note_unused_files
from training.importers.movielens import DISLIKE, LIKE
from training.importers.published import open_table
from training.importers.table import TableColumns, import_tables


def run(source: Path, folder: Path) -> ImportReport:
    """
    Reads the reviews and the businesses in `source`, plain or packed.

    Raises:  DataError for missing files or columns, and for values that cannot be read.
    """
    reviews, businesses = all_needed(source, "*review.json", "*business.json")
    columns = TableColumns(
        user="user_id", item="business_id", rating="stars", threshold=LIKE, dislike=DISLIKE, at="date",
        title="name", texts=("categories",),
    )  # fmt: skip
    notices: list[str] = []
    note_unused_files(source, [*reviews, *businesses], notices)
    logs, items = ([open_table(path) for path in paths] for paths in (reviews, businesses))
    return import_tables(folder, columns, logs, items, notices=notices)
