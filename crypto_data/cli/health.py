"""What `health` prints: the files of the lake that are damaged or out of place."""

from crypto_data.catalog.configuration import Catalog
from crypto_data.cli.options import Format, local_ms
from crypto_data.cli.output import complain, print_rows
from crypto_data.lake.checkup import Kind, check_lake

_COLUMNS = ("kind", "file", "series", "period", "what", "remedy")
_SHOWN = ("kind", "file", "what", "remedy")


def print_health(catalog: Catalog, form: Format, *, verify: bool) -> int:
    """Print a line a file with a fault; return 1 when the lake's klines suffer by one.

    A stray file hurts nobody: no reader sees it, and the next commit of its file removes it.
    """
    checkup = check_lake(catalog.lake, verify=verify, local_ms=local_ms())
    rows = [
        {
            "kind": str(one.kind),
            "file": one.path,
            "series": str(one.series) if one.series else None,
            "period": one.period or None,
            "what": one.detail,
            "remedy": one.remedy,
        }
        for one in checkup.findings
    ]
    if rows or form is not Format.TABLE:
        shown = [{name: row[name] for name in _SHOWN} for row in rows]
        print_rows(rows, form, columns=_COLUMNS, shown=shown)
    if any(one.kind is not Kind.STRAY for one in checkup.findings):
        return 1
    complain([f"the lake is whole: {checkup.files:,} files, {checkup.rows:,} rows"])
    return 0
