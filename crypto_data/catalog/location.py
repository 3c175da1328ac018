"""Where the configuration lies, and how to make one where there is none.

Paths only. Reading it belongs to `catalog.configuration`.
"""

from collections.abc import Mapping
from pathlib import Path

from crypto_data.errors import UsageError

FILE_NAME = "crypto_data.yaml"
VARIABLE = "CRYPTO_DATA_CONFIG"

EXAMPLE = """\
lake: ./lake
feeds:
  - exchange: binance
    market: spot
    symbols: [BTCUSDT, ETHUSDT]
    intervals: [1m, 1h]
    start: 2024-01-01
"""


def find_catalog(config: Path | None, environ: Mapping[str, str], cwd: Path) -> Path:
    """Return the absolute path of the configuration to use.

    Looks at `config`, `$CRYPTO_DATA_CONFIG`, `./crypto_data.yaml`, and then
    `$XDG_CONFIG_HOME/crypto-data/crypto_data.yaml`. A file that was named must exist; no other one
    is taken in its place.

    Raises:
        UsageError: there is none; says where it was looked for and how to make one.
    """
    named = config or (Path(environ[VARIABLE]) if environ.get(VARIABLE) else None)
    if named is not None:
        if _is_there(cwd / named):
            return cwd / named
        origin = "config" if config else f"${VARIABLE}"
        if (cwd / named).is_dir():
            raise UsageError(f"{origin}: {_in_folder(cwd / named)}")
        raise UsageError(f"{origin}: there is no file {cwd / named}. {_how_to_make(cwd / named)}")
    places = [cwd / FILE_NAME]
    if home := _configuration_home(environ):
        places.append(home / "crypto-data" / FILE_NAME)
    for place in places:
        if _is_there(place):
            return place
    looked = ", ".join(["--config (not given)", f"${VARIABLE} (not set)", *map(str, places)])
    raise UsageError(f"There is no configuration. Looked at: {looked}. {_how_to_make(places[0])}")


def state_folder(environ: Mapping[str, str]) -> Path:
    """Return where limits of this machine's address are remembered, shared by all lakes."""
    home = environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "crypto-data"


def _configuration_home(environ: Mapping[str, str]) -> Path | None:
    if environ.get("XDG_CONFIG_HOME"):
        return Path(environ["XDG_CONFIG_HOME"])
    return Path(environ["HOME"]) / ".config" if environ.get("HOME") else None


def _is_there(place: Path) -> bool:
    try:
        return place.exists() and not place.is_dir()
    except OSError:
        return False


def _in_folder(folder: Path) -> str:
    """Return what to say of a folder that was named in place of a file."""
    inside = folder / FILE_NAME
    if _is_there(inside):
        return f"{folder} is a folder; name the file in it: {inside}"
    return f"{folder} is a folder without {FILE_NAME}; name a file. {_how_to_make(inside)}"


def _how_to_make(place: Path) -> str:
    return f"To make one, write this to {place}:\n\n{EXAMPLE}"
