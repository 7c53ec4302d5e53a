"""Which loops run, and what is no library of ours."""

import hashlib
import importlib.util
import subprocess
import sys

import pytest

from recsys import kernels


def test_a_library_of_the_signatures_of_now_is_used(native, monkeypatch):
    assert native.kernels_version() == kernels.VERSION
    monkeypatch.setattr(kernels, "library", lambda: native)
    assert kernels.describe() == "compiled"
    monkeypatch.setattr(kernels, "library", lambda: None)
    assert kernels.describe() == "Python"


def test_what_is_no_library_of_ours_is_left_alone(native, tmp_path, monkeypatch):
    text = tmp_path / "native.so"
    text.write_text("no library")
    other = importlib.util.find_spec("_ctypes")
    assert other and other.origin
    assert kernels.open_library(text) is None
    assert kernels.open_library(tmp_path / "missing.so") is None
    assert kernels.open_library(tmp_path / other.origin) is None
    monkeypatch.setattr(kernels, "VERSION", kernels.VERSION + 1)
    assert kernels.open_library(tmp_path / native._name) is None


def test_the_version_is_raised_with_every_change_of_the_sources():
    """A library of older sources, though of the same signatures, would go on to decide by the rules of then."""
    files = (*kernels.SOURCES, kernels.SOURCES[0].with_suffix(".h"))
    found = hashlib.sha256("".join(file.read_text(encoding="utf-8") for file in files).encode()).hexdigest()[:16]
    known = (13, "65e5932a06858114")
    assert (kernels.VERSION, found) == known, "raise VERSION in __init__.py and native.c, then note both here"


def test_without_a_file_the_loops_run_in_python(tmp_path, monkeypatch):
    monkeypatch.setattr(kernels, "SOURCES", (tmp_path / "native.c",))
    assert kernels.library.__wrapped__() is None


def test_asking_which_loops_run_loads_no_numpy():
    script = "import sys; from recsys import kernels; kernels.describe(); sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize("loops", ["compiled", "Python"])
def test_the_version_says_which_loops_run(loops, monkeypatch, capsys):
    import sanad

    monkeypatch.setattr(kernels, "describe", lambda: loops)
    with pytest.raises(SystemExit) as ended:
        sanad.app(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.endswith(f" ({loops} loops)\n")
