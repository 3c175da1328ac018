"""Takes out of a lake what cannot be trusted, so that its days are fetched again.

Each file is looked at once more under its lock: one that reads well and agrees with its ledger is
never touched, nor is what another process writes just now. Nothing but half-written files is
deleted. What is wrong is found by `lake.checkup`.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from crypto_data.errors import LakeDamaged, LakeError
from crypto_data.intervals import MINUTE_MS
from crypto_data.lake.checkup import KLINES_FOLDER, Finding, Kind, examine
from crypto_data.lake.feeds import parse_wishes
from crypto_data.lake.layout import FEEDS, UNIVERSE
from crypto_data.lake.locking import locked
from crypto_data.lake.part import is_refused, why_damaged, writing
from crypto_data.lake.quarantine import read_quarantined
from crypto_data.lake.set_aside import put_aside
from crypto_data.lake.universe import parse_universe
from crypto_data.series import Series

# A foreign file that changed so recently may still be on its way, as one that is being copied.
QUIET_MS = MINUTE_MS


@dataclass(frozen=True, slots=True)
class Healed:
    """What became of one finding; not `done` when it is still as it was."""

    finding: Finding
    what: str
    done: bool
    kept: str = ""  # where the file is now, from the lake's folder on

    def __str__(self) -> str:
        """Return it as one line."""
        return f"{self.finding.path}: {self.what}"


def heal_lake(
    root: Path, findings: Iterable[Finding], *, at_ms: int, local_ms: int
) -> list[Healed]:
    """Take each file that was found out of the lake; return what was done, in the same order.

    Args:
        root: The lake.
        findings: What `check_lake` found.
        at_ms: The exchange's clock, UTC epoch milliseconds.
        local_ms: This machine's clock.
    """
    healed = []
    for finding in findings:
        try:
            healed.append(_heal(root, finding, at_ms, local_ms))
        except LakeError as error:
            gone = not os.path.lexists(root / finding.path)  # another process healed it
            healed.append(Healed(finding, "is gone" if gone else error.detail, done=gone))
    return healed


def _heal(root: Path, finding: Finding, at_ms: int, local_ms: int) -> Healed:
    if finding.kind is Kind.UNAVAILABLE:
        return Healed(finding, f"{finding.detail}; {finding.remedy}", done=False)
    if finding.series is None:
        return _heal_unlocked(root, finding, at_ms, local_ms)
    with locked(root, finding.series, finding.period):
        if finding.kind is Kind.STRAY:
            return _remove(root, finding)
        return _put_aside(root, finding, (finding.series, finding.period), at_ms)


def _heal_unlocked(root: Path, finding: Finding, at_ms: int, local_ms: int) -> Healed:
    """Heal what belongs to no series and so has no lock; only what lies there untouched."""
    if finding.kind is Kind.STRAY:
        return _remove(root, finding)
    if finding.kind is Kind.FOREIGN:
        path = root / finding.path
        if not os.path.lexists(path):
            return Healed(finding, "is gone", done=True)
        changed_ms = path.lstat().st_mtime_ns // 1_000_000
        if changed_ms > local_ms - QUIET_MS:
            detail = "foreign, and changed less than a minute ago: left alone; repair again later"
            return Healed(finding, detail, done=False)
    return _put_aside(root, finding, (None, ""), at_ms)


def _remove(root: Path, finding: Finding) -> Healed:
    path = root / finding.path
    with writing(path):
        path.unlink(missing_ok=True)
    return Healed(finding, "removed; it was half a file of a process that was killed", done=True)


def _put_aside(
    root: Path, finding: Finding, owner: tuple[Series | None, str], at_ms: int
) -> Healed:
    now = _look_again(root, finding)
    if now is None:
        return Healed(finding, "nothing is wrong with it any more", done=True)
    if now.kind is Kind.UNAVAILABLE:
        return Healed(now, f"{now.detail}; {now.remedy}", done=False)
    moved = put_aside(root, root / finding.path, owner=owner, at_ms=at_ms, why=now.detail)
    return Healed(now, f"{now.kind} ({now.detail}); moved to {moved.kept}", True, moved.kept)


def _look_again(root: Path, finding: Finding) -> Finding | None:
    """Return what is wrong with a file at this moment; None when nothing is, or it is gone."""
    path = root / finding.path
    if not os.path.lexists(path):
        return None
    if finding.path.startswith(f"{KLINES_FOLDER}/"):
        if finding.series is None:
            return finding  # its name has not changed
        return examine(root, finding.path, finding.series, finding.period, verify=True)[0]
    try:
        if finding.path == FEEDS:
            parse_wishes(path)
        elif finding.path.startswith(f"{UNIVERSE}/"):
            parse_universe(path)
        else:
            read_quarantined(path)
    except LakeDamaged as error:
        kind = Kind.UNAVAILABLE if is_refused(error.__cause__) else Kind.UNREADABLE
        return Finding(kind, finding.path, finding.series, finding.period, why_damaged(error))
    return None
