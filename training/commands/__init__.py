"""The commands about data, texts and models: `app`, and the groups `bench` and `import`."""

import typer

from training.commands.bench import app as bench
from training.commands.columns import app as _columns
from training.commands.data import app as _data
from training.commands.imports import app as imports
from training.commands.label import app as _label
from training.commands.text import app as _text
from training.commands.tune import app as _tune

__all__ = ["app", "bench", "imports"]

app = typer.Typer()
for _group in (_columns, _data, _text, _label, _tune):
    app.add_typer(_group)
