"""How a fault of the configuration is worded: place, what was found, what is allowed.

Turns what pydantic found into faults with lines. What is right or wrong belongs to
`catalog.configuration`.
Never quotes a value that came from the environment.
"""

from collections.abc import Sequence
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from crypto_data.catalog.text import WHOLE_FILE, Entry, join_key, quote
from crypto_data.errors import Fault
from crypto_data.naming import nearest


def faults_of(
    error: ValidationError, root: Entry, model: type[BaseModel], file: str
) -> list[Fault]:
    """Return one fault per place that pydantic refused, worded from the models' descriptions."""
    faults: dict[str, Fault] = {}
    for details in error.errors(include_url=False, include_input=False):
        entry = root.at(details["loc"])
        if details["type"] == "too_short" and (entry.children or isinstance(entry.value, str)):
            continue  # pydantic counts the good items only; the bad ones have faults of their own
        fault = _fault(details, root, model, file)
        faults.setdefault(fault.key, fault)
    return list(faults.values())


def _fault(details: ErrorDetails, root: Entry, model: type[BaseModel], file: str) -> Fault:
    place = details["loc"]
    entry = root.at(place)
    key = _key(place)
    match details["type"]:
        case "missing":
            allowed = _describe(model, place)
            return Fault(file, entry.line, key, "nothing", f"{allowed}; this key is needed")
        case "extra_forbidden":
            allowed = _nearest_key(model, place)
            return Fault(file, entry.line, key, f"the unknown key {quote(str(place[-1]))}", allowed)
    return Fault(file, entry.line, key, _found(entry), _allowed(details, entry, model))


def _key(place: Sequence[str | int]) -> str:
    key = ""
    for piece in place:
        key = join_key(key, piece)
    return key or WHOLE_FILE


def _found(entry: Entry) -> str:
    is_address = entry.key.startswith("alerts")
    has_login = entry.key.startswith("sources") and "@" in str(entry.value)
    if (is_address or has_login) and isinstance(entry.value, str):
        # Addresses of alerts, and logins, are secrets even where someone wrote one into the file.
        return entry.shown if entry.from_environment else "a text that is not shown here"
    return entry.shown


def _allowed(details: ErrorDetails, entry: Entry, model: type[BaseModel]) -> str:
    facts = details.get("ctx", {})
    words = str(facts.get("words", _describe(model, details["loc"])))
    if details["type"] == "not_text" and isinstance(entry.value, bool | int | float):
        return f"{words}; as text, in quotes"
    return words if entry.from_environment else str(facts.get("allowed", words))


def _describe(model: type[BaseModel], place: Sequence[str | int]) -> str:
    """Return what the field at `place`, or the one that holds it, may be."""
    described = "keys and values"
    for name in place:
        field = model.model_fields.get(name) if isinstance(name, str) else None
        if field is None:
            continue
        described = field.description or described
        model = _model_in(field) or model
    return described


def _nearest_key(model: type[BaseModel], place: Sequence[str | int]) -> str:
    for name in place[:-1]:
        field = model.model_fields.get(name) if isinstance(name, str) else None
        model = (_model_in(field) if field else None) or model
    names = list(model.model_fields)
    close = nearest(str(place[-1]), names)
    listed = f"one of {', '.join(names)}"
    return f"{close[0]} perhaps; {listed}" if close else listed


def _model_in(field: FieldInfo) -> type[BaseModel] | None:
    """Return the model a field holds, alone or in a tuple."""
    for held in (field.annotation, *get_args(field.annotation)):
        if isinstance(held, type) and issubclass(held, BaseModel):
            return held
    return None
