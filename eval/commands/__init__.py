"""The commands of evaluation: `app` holds `world`, `eval` and `ope`; `bench` is mounted under `sanad bench`."""

import typer

from eval.commands.bench import app as bench
from eval.commands.evaluate import app as _evaluate
from eval.commands.ope import app as _ope
from eval.commands.world import app as _world

__all__ = ["app", "bench"]

app = typer.Typer()
for _group in (_world, _evaluate, _ope):
    app.add_typer(_group)
