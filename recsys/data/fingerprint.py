"""The fingerprint of a dataset folder: equal bytes, equal fingerprint."""

import hashlib
from pathlib import Path


def fingerprint(data: Path) -> str:
    """A hash over the names and bytes of all files in the folder, hidden ones left out."""
    digest = hashlib.sha256()
    files = sorted(path for path in data.rglob("*") if path.is_file())
    for path in files:
        name = path.relative_to(data)
        if any(part.startswith(".") for part in name.parts):
            continue
        with path.open("rb") as file:
            digest.update(f"{name.as_posix()}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()[:32]
