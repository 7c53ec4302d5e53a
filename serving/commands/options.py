"""The arguments and options that several commands of serving share, each with one wording."""

from pathlib import Path
from typing import Annotated

import typer

from recsys.errors import ConfigError
from recsys.resources import policy_file

ArtifactFolder = Annotated[
    Path | None, typer.Argument(metavar="ARTIFACT", help="A folder from 'sanad train'.", envvar="SANAD_ARTIFACT")
]
Policy = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        parser=policy_file,
        show_default="morocco",
        help="The policy of the market: a file, or a shipped name.",
    ),
]
PolicyFile = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", parser=policy_file, show_default="morocco", help="A policy file, or the name of a shipped one."
    ),
]
ExperimentFolder = Annotated[
    Path | None,
    typer.Option(metavar="DIR", show_default="none", help="A folder of experiment files, to run those that run."),
]
StateName = Annotated[
    str,
    typer.Option(
        "--state", metavar="STATE", envvar="SANAD_STATE",
        help="The state of 'sanad serve': its file, or its server's address.",
    ),
]  # fmt: skip


def artifact_folder(given: Path | None) -> Path:
    """The artifact that a command needs. Raises ConfigError when nobody named one."""
    if given is None:
        raise ConfigError("found no ARTIFACT, expected the folder that 'sanad train DATA --out ARTIFACT' wrote")
    return given
