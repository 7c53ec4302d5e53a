"""The manifest of an artifact: what it is, how it was made, and the checksum of every file."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import msgspec

from recsys.errors import ArtifactError
from recsys.types import Fields

FORMAT: Final = 4
MANIFEST: Final = "manifest.json"
_NO_SHA256: Final = "-" * 64
_FILE_NAME: Final = re.compile(r"^[a-z0-9_]+(\.[a-z0-9_]+)+$")


class TriedSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Settings of one base model. `outcome`: chosen, tried, too much work or too much memory; the last two were not
    fitted. `work`: multiplications of all fits, as estimated before. `value` and its standard `error` by the yardstick;
    no error where only one user validates.
    """

    model: str
    settings: Fields
    outcome: str
    work: float
    value: float | None
    error: float | None


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    How the base models and their blend were chosen.

    `yardstick` chose settings, weights and re-ranker; `tried` is measured by it. `work` was spent on `tried`, of at
    most `max_work` (None = no limit). `blend` is its cross-validated NDCG as exposed with its standard `error`, over
    `n_users` validation users; None without any, and no error of one. `previous`: the version of the artifact whose
    weights those of the blend shrink to.
    """

    budget: str
    yardstick: str | None
    n_users: int
    work: float
    max_work: float | None
    tried: tuple[TriedSettings, ...]
    blend: float | None
    error: float | None
    previous: str | None


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    What an artifact is. Times are RFC 3339 in UTC.

    `cutoff`: events from this instant on were held out (None: nothing was). `risk_source`: `labelled`, or `assumed`
    when a flag stood in for missing tiers. `features`: names in order. `encoder`: fingerprint of the text encoder
    (None: no text space). `settings`: what a model holds beside its arrays. `content_share`: how much of the market's
    weight of content stays. `locality_weight`: by market, in standard deviations of a user's scores. `language_mix`: by
    first language, the share of each language on the best pages of those who understand it; `language_watched`: in what
    they watched. `chosen_by`: the yardstick of each choice;
    what was given, or could not be chosen, is left out. `recipe`: how base models were chosen; not set where their
    settings were given. `files`: name -> sha256. `sha256`: of the text of the manifest itself, with hyphens in its
    place; not set by versions of Sanad before this field.
    """

    format: int
    created_at: str
    data_fingerprint: str
    config: Fields
    cutoff: str | None
    risk_source: str
    counts: dict[str, int]
    features: tuple[str, ...]
    spaces: tuple[str, ...]
    encoder: str | None
    metrics: dict[str, float]
    settings: Mapping[str, Fields]
    content_share: float = 1.0
    locality_weight: dict[str, float] = {}
    language_mix: dict[str, dict[str, float]] = {}
    language_watched: dict[str, dict[str, float]] = {}
    chosen_by: dict[str, str] = {}
    recipe: Recipe | msgspec.UnsetType = msgspec.UNSET
    files: dict[str, str] = {}
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")] | msgspec.UnsetType = msgspec.UNSET


def sealed(manifest: Manifest) -> bytes:
    """The text of a manifest, with its own checksum in it."""
    whole = msgspec.structs.replace(manifest, sha256=_NO_SHA256)
    text = msgspec.json.format(msgspec.json.encode(whole), indent=1)
    before, _, after = text.rpartition(_NO_SHA256.encode())  # the last field: an id may be hyphens too
    return before + hashlib.sha256(text).hexdigest().encode() + after


def _is_as_sealed(raw: bytes, manifest: Manifest) -> bool:
    """Whether a text holds its own checksum, or none."""
    if manifest.sha256 is msgspec.UNSET:
        return True
    before, _, after = raw.rpartition(manifest.sha256.encode())
    return hashlib.sha256(before + _NO_SHA256.encode() + after).hexdigest() == manifest.sha256


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path) -> tuple[Manifest, str]:
    """The manifest in a folder and its version. Raises ArtifactError."""
    path = folder / MANIFEST
    if not path.is_file() or path.is_symlink():
        raise ArtifactError(f"found no {MANIFEST} in {folder}, expected an artifact; make one with `sanad train`")
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read ({error.strerror}); look at its rights, or train again") from error
    try:
        format_ = msgspec.json.decode(raw, type=Fields).get("format")
        if format_ != FORMAT:
            is_newer = isinstance(format_, int) and format_ > FORMAT
            raise ArtifactError(
                f"found an artifact of format {format_!r} in {folder}, expected format {FORMAT}; "
                + ("serve it by the newer version that made it" if is_newer else "train it again with `sanad train`")
            )
        manifest = msgspec.json.decode(raw, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ArtifactError(
            f"found a {MANIFEST} in {folder} that cannot be read ({error}), expected the one that was "
            "written; train again"
        ) from error
    if not _is_as_sealed(raw, manifest):
        raise ArtifactError(
            f"found a {MANIFEST} in {folder} with another text than its sha256 says: it was altered or damaged; "
            "copy the artifact again"
        )
    return manifest, hashlib.sha256(raw).hexdigest()[:12]


def find_problems(folder: Path, manifest: Manifest) -> list[str]:
    """A sentence for each file that is missing, unexpected or altered, and for each name that is not one."""
    problems = [
        f"found file name {name!r} in {MANIFEST}, expected a plain name inside the folder; train again"
        for name in manifest.files
        if not _FILE_NAME.match(name)
    ]
    if problems:
        return problems  # no path outside the folder is ever opened
    present = {path.name: path for path in folder.iterdir() if path.name != MANIFEST}
    for name in sorted(present.keys() - manifest.files.keys()):
        problems.append(f"found unexpected file {name!r} in {folder}, expected only those in {MANIFEST}; remove it")
    for name, expected in manifest.files.items():
        path = present.get(name)
        if path is None or path.is_symlink() or not path.is_file():
            problems.append(f"found no regular file {name!r} in {folder}, expected it; copy the artifact again")
        elif (checksum := file_sha256(path)) != expected:
            problems.append(
                f"found {name!r} with sha256 {checksum[:12]}, expected {expected[:12]}: it was altered or damaged; "
                "copy the artifact again"
            )
    return problems
