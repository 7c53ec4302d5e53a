"""
The commands that serve: `app` holds `serve`, `feed`, `recommend`, `audit`, `backup` and `restore`; the others are
groups of their own.
"""

from serving.commands.audit import app as _audit
from serving.commands.backup import app as _backup
from serving.commands.creators import app as creators
from serving.commands.experiments import app as experiment
from serving.commands.export import app as export
from serving.commands.feeds import app
from serving.commands.helplines import app as helplines
from serving.commands.keys import app as key
from serving.commands.policies import app as policy

app.add_typer(_audit)
app.add_typer(_backup)

__all__ = ["app", "creators", "experiment", "export", "helplines", "key", "policy"]
