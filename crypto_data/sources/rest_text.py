"""A page of klines spelt exactly as Binance does, read as CSV: no row becomes a Python object.

One spelling is known, to the byte: no blanks, times and count as bare digits, all else as digits
in quotes. Reading or refusing any other belongs to `sources.rest_page`.
"""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

# A row with the comma behind it, every number as 0; the last row has the page's end there.
_ROW = np.frombuffer(b'[0,"0","0","0","0","0",0,"0",0,"0","0","0"],', np.uint8)
_OPENING, _CLOSING, _ZERO, _QUOTE, _LINE_END = b'[]0"\n'
_MARKS = _ROW[_ROW != _ZERO]
_HAS_NUMBER = np.append(_ROW[1:], 0)[_ROW != _ZERO] == _ZERO
_HAS_WHOLE = np.flatnonzero(_HAS_NUMBER & (_MARKS != _QUOTE))
# From one mark to the next; a whole number that is longer does not begin with 0.
_ONE_DIGIT = 2
_IS_MARK = bytes(byte not in b"0123456789." for byte in range(256))

_ITEMS = [str(place) for place in range(12)]
_WHOLE = {"0", "6", "8"}
_READING = csv.ReadOptions(
    use_threads=False,
    column_names=_ITEMS,
    block_size=1 << 22,  # all of a page, which has 250 KB at most
)
_CONVERSION = csv.ConvertOptions(
    column_types={item: pa.int64() if item in _WHOLE else pa.float64() for item in _ITEMS[:-1]},
    include_columns=_ITEMS[:-1],
    null_values=[],
)


def read_items(body: bytes) -> list[Any] | None:
    """Return the first eleven items of every row, a column each; None of another spelling.

    Items 0, 6 and 8 are int64, the others doubles. What is read here, a reader of JSON reads alike.
    """
    lines = _csv_lines(np.frombuffer(body, np.uint8), body)
    if lines is None:
        return None
    try:
        table = csv.read_csv(
            pa.BufferReader(pa.py_buffer(lines)),
            read_options=_READING,
            convert_options=_CONVERSION,
        )
    except pa.ArrowInvalid:  # such as a time with a point, or more digits than fit
        return None
    return list(table.columns)


def _csv_lines(text: NDArray[np.uint8], body: bytes) -> NDArray[np.uint8] | None:
    """Return a page as lines of CSV whose last cell is of no use, None of another spelling."""
    places = np.flatnonzero(np.frombuffer(body.translate(_IS_MARK), np.bool_))
    rows, rest = divmod(places.size - 1, _MARKS.size)
    if rest or rows < 1:
        return None
    gaps = np.diff(places, append=text.size)
    if places[0] or gaps[0] != 1 or text[places[0]] != _OPENING or text[places[-1]] != _CLOSING:
        return None
    return _row_lines(text, places[1:].reshape(rows, -1), gaps[1:].reshape(rows, -1))


def _row_lines(
    text: NDArray[np.uint8], places: NDArray[np.intp], gaps: NDArray[np.intp]
) -> NDArray[np.uint8] | None:
    """Return the rows whose marks stand at `places`, each `gaps` before the next one."""
    lines = text.copy()
    lines[places[-1, -1]] = _MARKS[-1]
    is_as_expected = (lines[places] == _MARKS).all() and ((gaps > 1) == _HAS_NUMBER).all()
    if not is_as_expected:
        return None
    is_long = gaps[:, _HAS_WHOLE] > _ONE_DIGIT
    if (is_long & (text[places[:, _HAS_WHOLE] + 1] == _ZERO)).any():
        return None
    lines[places[:, 0]] = _ZERO
    lines[places[:, -1]] = _LINE_END
    return lines[1:]
