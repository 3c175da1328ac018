"""What is told when: one start, a reminder an hour, one end, through kills and damage."""

import itertools
import json
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from crypto_data.alerts.outbox import FILE, Outbox
from crypto_data.alerts.state import (
    KEPT_MS,
    REMIND_MS,
    State,
    advance,
    decode,
    delivered,
    due,
    encode,
    refused,
    tidy,
)
from crypto_data.alerts.trouble import Kind, Trouble, message
from crypto_data.errors import LakeDamaged, LakeNotWritable

MINUTE_MS = 60_000
NOW_MS = 1_709_776_800_000  # 2024-03-07 02:00:00 UTC
URLS = (SecretStr("http://127.0.0.1:1/one"), SecretStr("json://127.0.0.1:1/two"))
ONE = {"aaaa": 1}


def trouble(key="feed/binance_spot", level=1, since_ms=NOW_MS) -> Trouble:
    return Trouble(
        key, level, f"{key} is in trouble.", since_ms, "HTTP 500", "crypto-data gaps --market spot"
    )


def kinds(state) -> list[Kind]:
    return [one.kind for one in state.queue]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        pytest.param(
            Kind.STARTED,
            "crypto-data: Feed a: 2 runs failed.\nSince 2024-03-07 02:00:00 UTC.\n"
            "In its own words: HTTP 500\nRun: crypto-data gaps",
            id="started",
        ),
        pytest.param(
            Kind.WORSE,
            "crypto-data: worse: Feed a: 2 runs failed.\nSince 2024-03-07 02:00:00 UTC.\n"
            "In its own words: HTTP 500\nRun: crypto-data gaps",
            id="worse",
        ),
        pytest.param(
            Kind.REMINDER,
            "crypto-data: still: Feed a: 2 runs failed.\nSince 2024-03-07 02:00:00 UTC.\n"
            "In its own words: HTTP 500\nRun: crypto-data gaps",
            id="reminder",
        ),
        pytest.param(
            Kind.OVER,
            "crypto-data: over: Feed a: 2 runs failed.\n"
            "From 2024-03-07 02:00:00 UTC to 2024-03-07 03:00:00 UTC.",
            id="over",
        ),
    ],
)
def test_a_message_says_what_since_when_why_and_what_to_do(kind, text) -> None:
    """The first line says it all; the end needs no remedy."""
    found = Trouble("k", 1, "Feed a:\n2 runs failed.", NOW_MS, "HTTP\t500", "crypto-data gaps")

    assert message(kind, found, NOW_MS + REMIND_MS) == text


def test_a_long_message_is_cut() -> None:
    """Whatever a source says, the message stays within what chat services take."""
    found = Trouble("k", 1, "x" * 5_000, NOW_MS, "y" * 5_000, "z" * 5_000)

    text = message(Kind.STARTED, found, NOW_MS)

    assert len(text) < 1_700
    assert text.count("…") == 3


def test_a_trouble_is_told_once_then_by_the_hour_and_when_it_is_over() -> None:
    """A higher level is told at once, and the hour counts from the last message."""
    story = [
        (0, 1, [Kind.STARTED]),
        (30, 1, []),
        (60, 1, [Kind.REMINDER]),
        (61, 2, [Kind.WORSE]),
        (62, 1, []),
        (63, 2, []),
        (120, 2, []),
        (121, 2, [Kind.REMINDER]),
        (122, 0, [Kind.OVER]),
        (123, 0, []),
        (124, 1, [Kind.STARTED]),
    ]
    state, told = State("salt"), []

    for minute, level, _ in story:
        found = [trouble(level=level)] if level else []
        state, _ = advance(state, found, NOW_MS + minute * MINUTE_MS, ONE)
        told.append(kinds(state))
        state = tidy(state, NOW_MS, ONE)
        for one in state.queue:
            state = delivered(state, one.number)

    assert told == [expected for _, _, expected in story]


@given(
    st.lists(
        st.tuples(st.integers(1, 90), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40
    )
)
def test_whatever_happens_starts_and_ends_alternate(steps) -> None:
    """Per key: a start, then no second start before the end; at most one reminder an hour."""
    state, now_ms = State("salt"), NOW_MS
    told: dict[str, list[tuple[Kind, int]]] = {"a": [], "b": []}
    for minutes, a, b in steps:
        now_ms += minutes * MINUTE_MS
        found = [trouble(key, level) for key, level in (("a", a), ("b", b)) if level]
        state, texts = advance(state, found, now_ms, ONE)
        assert len(texts) == len(state.queue)
        for one in state.queue:
            told[one.key].append((one.kind, now_ms))
            state = delivered(state, one.number)

    for said in told.values():
        borders = [kind for kind, _ in said if kind in {Kind.STARTED, Kind.OVER}]
        assert borders == [Kind.STARTED, Kind.OVER] * (len(borders) // 2) + borders[:1] * (
            len(borders) % 2
        )
        for (_, before_ms), (kind, at_ms) in itertools.pairwise(said):
            assert kind is not Kind.REMINDER or at_ms - before_ms >= REMIND_MS
    assert state == decode(encode(state))


def test_a_clock_that_was_set_back_does_not_silence_reminders() -> None:
    """A reminder does not wait until the clock has caught up."""
    state, _ = advance(State("salt"), [trouble()], NOW_MS, ONE)

    state, texts = advance(state, [trouble()], NOW_MS - 10 * REMIND_MS, ONE)

    assert len(texts) == 1


def test_two_that_look_at_once_remind_nobody() -> None:
    """Who read its clock a moment earlier, and tells later, has nothing new to say."""
    state, _ = advance(State("salt"), [trouble()], NOW_MS, ONE)

    state, texts = advance(state, [trouble()], NOW_MS - MINUTE_MS, ONE)

    assert texts == []


def test_many_of_a_sort_at_once_are_one_message() -> None:
    """A disk that loses 400 files fills no phone: one start, one reminder, one end."""
    lost = [trouble(f"damage/{number}", since_ms=NOW_MS - number) for number in range(400)]
    others = [trouble(f"feed/{number}") for number in range(5)]
    state, started = advance(State("salt"), [*lost, *others], NOW_MS, ONE)
    state, reminded = advance(state, [*lost, *others], NOW_MS + REMIND_MS, ONE)

    state, ended = advance(state, others, NOW_MS + REMIND_MS + 1, ONE)

    assert [len(started), len(reminded), len(ended)] == [6, 6, 1]
    assert started[0] == (
        "crypto-data: 400 alike at once, such as: damage/0 is in trouble.\n"
        "Since 2024-03-07 01:59:59 UTC.\nIn its own words: HTTP 500\nRun: crypto-data alerts"
    )
    assert len([alert for alert in state.alerts.values() if alert.ended_ms is None]) == 5


def test_who_looked_earlier_does_not_tell_later(tmp_path) -> None:
    """A look around that takes long cannot end what began meanwhile: others wait for it."""
    outbox, looking, told = Outbox(tmp_path), threading.Event(), []

    def look_long() -> None:
        with outbox.watching():
            looking.set()
            time.sleep(0.2)
            told.extend(outbox.tell([], NOW_MS, URLS))

    slow = threading.Thread(target=look_long)
    slow.start()
    looking.wait()
    with Outbox(tmp_path).watching():
        told.extend(outbox.tell([trouble()], NOW_MS, URLS))
    slow.join()

    assert len(told) == 1
    assert [alert.ended_ms for alert in outbox.current()] == [None]


def test_one_message_for_a_key_that_is_found_twice() -> None:
    """The worst of a key is told."""
    state, texts = advance(State("salt"), [trouble(level=1), trouble(level=2)], NOW_MS, ONE)

    assert len(texts) == 1
    assert state.alerts["feed/binance_spot"].told_level == 2


def test_the_beginning_stays_what_it_was() -> None:
    """A trouble that is found again with a later beginning goes on since the first."""
    state, _ = advance(State("salt"), [trouble(since_ms=NOW_MS)], NOW_MS, ONE)

    state, _ = advance(state, [trouble(since_ms=NOW_MS + 5)], NOW_MS + 9, ONE)

    assert state.alerts["feed/binance_spot"].trouble.since_ms == NOW_MS


def test_a_week_without_delivery_piles_up_nothing() -> None:
    """Reminders replace each other; start, worse and end stay, in their order."""
    state, lengths = State("salt"), set()
    for hour in range(168):
        state, _ = advance(state, [trouble(level=1 + hour // 100)], NOW_MS + hour * REMIND_MS, ONE)
        state = tidy(state, NOW_MS + hour * REMIND_MS, ONE)
        lengths.add(len(state.queue))

    state, _ = advance(state, [], NOW_MS + 168 * REMIND_MS, ONE)

    assert max(lengths) == 3
    assert kinds(state) == [Kind.STARTED, Kind.WORSE, Kind.OVER]


def test_an_address_gets_only_what_was_said_while_it_was_there() -> None:
    """An added address gets nothing old; a removed one keeps its messages for a week."""
    state, _ = advance(State("salt"), [trouble()], NOW_MS, ONE)
    other = {"bbbb": 1}

    moved = tidy(state, NOW_MS + KEPT_MS - 1, {"bbbb": 1, "aaaa": 2})
    removed = tidy(state, NOW_MS + KEPT_MS - 1, other)
    gone = tidy(state, NOW_MS + KEPT_MS, other)

    assert due(state, NOW_MS, other) == {}
    assert [one.address for one in moved.queue] == [2]
    assert [one.address for one in removed.queue] == [0]
    assert [one.kind for one in due(removed, NOW_MS, ONE)["aaaa"]] == [Kind.STARTED]
    assert gone.queue == ()


def test_without_an_address_alerts_are_kept_and_nothing_is_queued(tmp_path) -> None:
    """What lasts when an address is there is told as new; what ended before is not told."""
    outbox = Outbox(tmp_path / "_alerts")
    quiet = outbox.tell([trouble("a"), trouble("b")], NOW_MS, ())
    kept = [alert.trouble.key for alert in outbox.current()]
    outbox.tell([trouble("a")], NOW_MS + 1, ())

    texts = outbox.tell([trouble("a")], NOW_MS + 2, URLS)

    assert (quiet, kept, "b" in outbox.known()) == ([], ["a", "b"], True)
    assert [text.partition("\n")[0] for text in texts] == ["crypto-data: a is in trouble."]
    assert [(one.address, one.kind) for one in outbox.waiting()] == [(1, "started"), (2, "started")]


def test_what_is_over_is_known_for_a_week(tmp_path) -> None:
    """A key is known while a trouble lasts and for seven days after it."""
    outbox = Outbox(tmp_path)
    outbox.tell([trouble()], NOW_MS, URLS)
    outbox.tell([], NOW_MS + 1, URLS)

    answers = []
    for now_ms in (NOW_MS + KEPT_MS, NOW_MS + 1 + KEPT_MS):
        outbox.tell([], now_ms, URLS)
        answers.append("feed/binance_spot" in outbox.known())

    assert answers == [True, False]
    assert outbox.current() == []


def test_a_failing_address_waits_twice_as_long_each_time() -> None:
    """From 30 seconds to 30 minutes; a success forgets the failures."""
    state, _ = advance(State("salt"), [trouble()], NOW_MS, ONE)
    waits = []
    for _ in range(9):
        state = refused(state, "aaaa", "HTTP 500", NOW_MS)
        waits.append((state.failing["aaaa"].next_try_ms - NOW_MS) // 1000)

    assert waits == [30, 60, 120, 240, 480, 960, 1800, 1800, 1800]
    assert due(state, NOW_MS + 1_799_999, ONE) == {}
    assert list(due(state, NOW_MS + 1_800_000, ONE)) == ["aaaa"]
    assert list(due(state, NOW_MS - 10, ONE)) == ["aaaa"]  # the clock was set back
    assert delivered(state, 1) == State("salt", 2, state.alerts)


def test_the_files_hold_no_address(tmp_path) -> None:
    """Addresses stand in the file as number and mark; another lake marks them differently."""
    marks = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        Outbox(folder).tell([trouble()], NOW_MS, URLS)
        text = (folder / FILE).read_text()
        marks.append([one["mark"] for one in json.loads(text)["queue"]])
        assert "127.0.0.1" not in text

    assert len({*marks[0], *marks[1]}) == 4


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda _text: b"", id="empty"),
        pytest.param(lambda text: text[: len(text) // 2], id="cut"),
        pytest.param(lambda _text: b"[]", id="foreign"),
        pytest.param(lambda text: text.replace(b'"told_level": 1', b'"told_level": []'), id="type"),
        pytest.param(lambda text: text.replace(b'"queue"', b'"qu\x00ue"'), id="no-json"),
        pytest.param(lambda text: text.replace(b'"started"', b'"begun"'), id="kind"),
    ],
)
def test_a_damaged_file_is_set_aside_and_begun_anew(tmp_path, caplog, damage) -> None:
    """Nothing breaks off: the file is kept under another name, and what lasts is told again."""
    outbox = Outbox(tmp_path)
    outbox.tell([trouble()], NOW_MS, URLS)
    broken = damage((tmp_path / FILE).read_bytes())
    (tmp_path / FILE).write_bytes(broken)

    with pytest.raises(LakeDamaged, match="crypto-data collect"):
        outbox.check()
    before = outbox.current()
    texts = outbox.tell([trouble()], NOW_MS + 1, URLS)
    outbox.check()

    assert (before, len(texts), len(outbox.waiting())) == ([], 1, 2)
    assert (tmp_path / f"{FILE}.damaged").read_bytes() == broken
    assert "begun anew" in caplog.text


def test_a_disk_that_takes_nothing_is_an_error_that_says_so(tmp_path) -> None:
    """Telling fails as the lake's own error; so does reading what cannot be read."""
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder" / FILE).mkdir(parents=True)

    with pytest.raises(LakeNotWritable, match="no alert can be told"):
        Outbox(tmp_path / "file" / "_alerts").tell([trouble()], NOW_MS, URLS)
    with pytest.raises(LakeDamaged, match="cannot be read"):
        Outbox(tmp_path / "folder").current()


def test_looking_writes_nothing(tmp_path) -> None:
    """Reading an outbox that is not there creates no folder, nor does a quiet look write."""
    outbox = Outbox(tmp_path / "_alerts")

    assert (outbox.current(), outbox.waiting(), outbox.known()) == ([], [], {})
    assert not (tmp_path / "_alerts").exists()
    outbox.tell([], NOW_MS, URLS)
    assert not (tmp_path / "_alerts" / FILE).exists()


# Says how many messages it queued; ends come from processes that know of fewer troubles.
TELLER = """
import sys
from pathlib import Path
from pydantic import SecretStr
from crypto_data.alerts.outbox import Outbox
from crypto_data.alerts.trouble import Trouble

outbox, troubles, queued = Outbox(Path(sys.argv[1])), [], 0
for number in range(25):
    troubles.append(Trouble(f"sort-{number}", 1, "broken", 0, "", ""))
    queued += len(outbox.tell(troubles, 0, [SecretStr("http://127.0.0.1:1/one")]))
print(queued)
"""


@pytest.mark.slow
def test_processes_that_tell_at_once_lose_and_double_nothing(tmp_path) -> None:
    """Four processes at once: the queue holds what each said it queued, starts and ends in turn."""
    command = [sys.executable, "-c", TELLER, str(tmp_path)]
    tellers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]

    queued = [int(teller.communicate(timeout=60)[0]) for teller in tellers]

    waiting = Outbox(tmp_path).waiting()
    told: dict[str, list[Kind]] = {}
    for one in waiting:
        told.setdefault(one.key, []).append(one.kind)
    assert sum(queued) == len(waiting) == len({one.number for one in waiting})
    assert len(told) == 25
    for said in told.values():
        assert said == ([Kind.STARTED, Kind.OVER] * len(said))[: len(said)]


# Lets a child die at each line of the outbox in turn; says after which deaths what was there.
STEPS = """
import json, os, signal, sys
from pathlib import Path
from pydantic import SecretStr
from crypto_data.alerts import outbox as module
from crypto_data.alerts.trouble import Trouble

URLS = [SecretStr("http://127.0.0.1:1/one")]

def look(outbox, *keys):
    return outbox.tell([Trouble(key, 1, "broken", 0, "", "") for key in keys], 0, URLS)

def dying_at(line):
    def trace(frame, event, _):
        nonlocal line
        if frame.f_code.co_filename != module.__file__:
            return None
        line -= event == "line"
        if not line:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace
    return trace

line, alive = 0, False
while not alive:
    line += 1
    outbox = module.Outbox(Path(sys.argv[1], str(line)))
    look(outbox, "a", "b")
    child = os.fork()
    if not child:
        sys.settrace(dying_at(line))
        look(outbox, "b", "c")
        outbox.note_delivered(1)
        os._exit(0)
    alive = os.waitpid(child, 0)[1] == 0
    seen = [[one.key, one.kind] for one in outbox.waiting()]
    look(outbox, "b", "c")
    outbox.note_delivered(1)
    print(json.dumps([seen, [[one.key, one.kind] for one in outbox.waiting()]]))
"""


@pytest.mark.slow
def test_a_kill_at_any_line_neither_loses_nor_doubles_a_message(tmp_path) -> None:
    """Whichever line is the last, the file is the old one or the new, and a next look mends all."""
    command = [sys.executable, "-c", STEPS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)

    deaths = [json.loads(line) for line in done.stdout.splitlines()]
    before = [["a", "started"], ["b", "started"]]
    told = [*before, ["a", "over"], ["c", "started"]]
    told = sorted(told, key=str)
    assert len(deaths) > 60
    assert {str(sorted(seen, key=str)) for seen, _ in deaths} == {
        str(before), str(told), str([one for one in told if one != ["a", "started"]])
    }  # fmt: skip
    assert {str(sorted(after, key=str)) for _, after in deaths} == {
        str([one for one in told if one != ["a", "started"]])
    }
    assert not list(tmp_path.rglob("*.damaged"))
