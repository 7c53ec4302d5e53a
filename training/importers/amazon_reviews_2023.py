"""
Amazon Reviews 2023 (Hou et al. 2024; research use, not redistributed here): JSON Lines `CATEGORY.jsonl` of reviews
and, when it is there, `meta_CATEGORY.jsonl` of goods. The ready-made splits `CATEGORY.csv` (user_id, parent_asin,
rating, timestamp) are tables of interactions for `sanad import table`.
Source: https://amazon-reviews-2023.github.io/, "Data Fields".

A rating of 4 and above becomes `like`, of 2 and below `not_interested`, of 3 a `view`; the rating is in
`events.value`. Goods are counted by `parent_asin`, as the authors advise. The store is the creator. Texts of reviews
are left out.
"""

from dataclasses import replace
from pathlib import Path

from training.importers.common import ImportReport, find, need, note_unused_files
from training.importers.movielens import DISLIKE, LIKE
from training.importers.published import open_table
from training.importers.table import TableColumns, import_tables


def run(source: Path, folder: Path) -> ImportReport:
    """
    Reads the reviews and the goods of one category, plain or packed.

    Raises:  DataError for missing files or columns, and for values that cannot be read.
    """
    goods = find(source, "meta_*.jsonl")
    reviews = [path for path in need(source, "*.jsonl") if path not in goods] or need(source, "CATEGORY.jsonl")
    columns = TableColumns(
        user="user_id", item="parent_asin", rating="rating", threshold=LIKE, dislike=DISLIKE, at="timestamp"
    )
    if goods:
        about = ("main_category", "features", "description", "categories")
        columns = replace(columns, title="title", texts=about, creator="store")
    notices: list[str] = []
    note_unused_files(source, [*reviews, *goods], notices)
    logs, items = ([open_table(path) for path in paths] for paths in (reviews, goods))
    return import_tables(folder, columns, logs, items, notices=notices)
