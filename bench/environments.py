"""Environments of the bench's own, made from its pins: one a peer, one for the browser.

They lie in `.bench/` and stay there until their pins change. Nothing is put into the project's own
environment.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from bench.figure import Unmeasured

ROOT = Path(__file__).resolve().parent
ENVIRONMENTS = ROOT.parent / ".bench"
INSTALL = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r")


def python_of(
    name: str, wanted: tuple[int, int] | None = None, *, within: Path = ENVIRONMENTS
) -> Path:
    """Return the interpreter of an environment with `requirements-<name>.txt`, made if it is not.

    Args:
        name: What the environment is called, and its pins.
        wanted: The Python it needs; None takes that of the bench.
        within: Where environments lie.

    Raises:
        Unmeasured: there is no such Python, or the pins cannot be installed.
    """
    pins = ROOT / f"requirements-{name}.txt"
    folder = within / f"env-{name}"
    python = folder / "bin" / "python"
    installed = folder / "installed.txt"
    if installed.exists() and installed.read_text() == pins.read_text():
        return python
    _run([_find_python(wanted), "-m", "venv", "--clear", str(folder)], "it cannot be made")
    _run([str(python), *INSTALL, str(pins)], f"{pins.name} cannot be installed")
    shutil.copyfile(pins, installed)
    return python


def _find_python(wanted: tuple[int, int] | None) -> str:
    if wanted is None or wanted == sys.version_info[:2]:
        return sys.executable
    name = f"python{wanted[0]}.{wanted[1]}"
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for path in (shutil.which(name), *map(str, versions.glob(f"*/bin/{name}"))):
        if path and _works(path):
            return path
    raise Unmeasured(f"needs Python {wanted[0]}.{wanted[1]}")


def _works(python: str) -> bool:
    """Return whether an interpreter starts; a stand-in of pyenv's may be there and not chosen."""
    ran = subprocess.run([python, "-c", ""], capture_output=True, check=False)  # noqa: S603
    return ran.returncode == 0


def _run(command: list[str], fault: str) -> None:
    ran = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if ran.returncode:
        last = (ran.stderr or ran.stdout).strip().splitlines()[-1:]
        raise Unmeasured(f"{fault}: {' '.join(last)}")
