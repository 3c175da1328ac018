"""Messages on their way: real servers that take them, refuse them, hang, and break off."""

import base64
import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psutil
import pytest
from pydantic import SecretStr

from crypto_data.alerts.delivery import deliver
from crypto_data.alerts.outbox import Outbox
from crypto_data.alerts.trouble import Trouble

NOW_MS = 1_709_776_800_000  # 2024-03-07 02:00:00 UTC
TOKEN = "s3cr3tT0kenOfAnAddress"  # noqa: S105 - of no service
USER = "userT0kenOfAnAddress"


class Receiver(ThreadingHTTPServer):
    """Answers by the first word of a path: 500, moved, hang, drip, broken; once: not at first.

    Everything else is taken.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.taken: list[tuple[str, dict[str, str], bytes]] = []
        self.refused = threading.Event()
        self.met = threading.Event()
        self.end = threading.Event()
        self.processes: list[str] = []

    def url(self, path, scheme="http", login="") -> SecretStr:
        return SecretStr(f"{scheme}://{login}127.0.0.1:{self.server_port}/{path}")

    def texts(self, path="taken") -> list[str]:
        return [
            json.loads(body)["text"].partition("\n")[0]
            for where, _, body in self.taken
            if where.startswith(f"/{path}")
        ]


class Answers(BaseHTTPRequestHandler):
    """One request to the receiver."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server, word = self.server, self.path.split("/")[1]
        server.met.set()
        match word:
            case "hang":
                server.end.wait(60)
                with contextlib.suppress(OSError):
                    self.answer(200)
            case "drip":
                with contextlib.suppress(OSError):
                    while not server.end.wait(0.2):
                        self.wfile.write(b"H")
            case "broken":
                self.wfile.write(b"HTTP/1.1 2")
            case "moved":
                self.answer(307, Location=server.url("taken").get_secret_value())
            case "processes":
                server.processes = [
                    str((child.cmdline(), child.environ()))
                    for child in psutil.Process().children(recursive=True)
                ]
                self.answer(200)
            case "500":
                self.answer(500)
            case "once" if not server.refused.is_set():
                server.refused.set()
                self.answer(503)
            case _:
                server.taken.append((self.path, dict(self.headers), body))
                self.answer(204)

    def answer(self, status, **headers) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_words) -> None:
        pass


@pytest.fixture
def receiver():
    with Receiver() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.05,))
        thread.start()
        yield running
        running.end.set()
        running.shutdown()
        thread.join()


@pytest.fixture
def outbox(tmp_path):
    return Outbox(tmp_path / "_alerts")


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def trouble(key="a") -> Trouble:
    return Trouble(key, 1, f"{key} is in trouble.", NOW_MS, "HTTP 500 — \ud800", "crypto-data gaps")


def test_a_message_arrives_as_json(outbox, receiver) -> None:
    """The body is `{"text": …}` and nothing else; a login goes into a header; the queue empties."""
    urls = [receiver.url("taken", scheme="HTTP", login=f"{USER}:{TOKEN}@")]
    (text,) = outbox.tell([trouble()], NOW_MS, urls)

    report = deliver(outbox, urls, NOW_MS)

    (path, headers, body) = receiver.taken[0]
    login = base64.b64encode(f"{USER}:{TOKEN}".encode()).decode()
    assert (report.sent, report.waiting, report.failures) == (1, 0, ())
    assert (path, json.loads(body)) == ("/taken", {"text": text})
    assert headers["Content-Type"] == "application/json"
    assert headers["Authorization"] == f"Basic {login}"
    assert outbox.waiting() == []


def test_messages_of_an_address_follow_each_other(outbox, receiver) -> None:
    """A start arrives before its end, at every address."""
    urls = [receiver.url("taken/1"), receiver.url("taken/2")]
    outbox.tell([trouble("a")], NOW_MS, urls)
    outbox.tell([trouble("b")], NOW_MS + 1, urls)
    outbox.tell([], NOW_MS + 2, urls)

    report = deliver(outbox, urls, NOW_MS + 3)

    expected = [
        "crypto-data: a is in trouble.",
        "crypto-data: over: a is in trouble.",
        "crypto-data: b is in trouble.",
        "crypto-data: over: b is in trouble.",
    ]
    assert (report.sent, report.waiting) == (8, 0)
    for path in ("taken/1", "taken/2"):
        told = receiver.texts(path)
        assert sorted(told) == sorted(expected)
        assert [one for one in told if " b " in one] == expected[2:]
        assert [one for one in told if " a " in one] == expected[:2]


def faults(receiver) -> dict[str, tuple[SecretStr, str]]:
    """Return addresses that do not take a message, each with the reason that is shown."""
    port = receiver.server_port
    login = f"{USER}:{TOKEN}@"
    return {
        "refuse": (
            SecretStr(f"http://{login}127.0.0.1:{closed_port()}/{TOKEN}"),
            "its host refuses the connection",
        ),
        "500": (receiver.url(f"500/{TOKEN}"), "answers with HTTP 500"),
        "moved": (
            receiver.url(f"moved/{TOKEN}", login=login),
            "answers with a redirect to another address; configure the final one",
        ),
        "hang": (receiver.url(f"hang/{TOKEN}", login=login), "no answer in time"),
        "drip": (receiver.url(f"drip/{TOKEN}"), "no answer in time"),
        "broken": (
            receiver.url(f"broken/{TOKEN}"),
            "the connection broke off, or the answer is no HTTP",
        ),
        "host": (
            SecretStr(f"http://{login}{TOKEN}.invalid/{TOKEN}"),
            "the name of its host is not known",
        ),
        "tls": (SecretStr(f"https://{login}127.0.0.1:{port}/{TOKEN}"), "no encrypted connection"),
        "url": (SecretStr(f"http://127.0.0.1:{TOKEN}/"), "the address cannot be used"),
        "apprise": (receiver.url(f"500/{TOKEN}", "json", login), "the service did not take"),
        "apprise-moved": (receiver.url(f"moved/{TOKEN}", "json"), "the service did not take"),
        "apprise-host": (
            SecretStr(f"json://{login}{TOKEN}.invalid/{TOKEN}"),
            "the service did not take",
        ),
        "parts": (SecretStr(f"mailto://?to={TOKEN}"), "Apprise does not know"),
        "scheme": (SecretStr(f"nosuch://{login}{TOKEN}"), "Apprise does not know"),
    }


def test_every_failure_says_why_and_holds_up_nobody_else(outbox, receiver) -> None:
    """Each address has its own reason; the good one among them gets its message at once."""
    broken = faults(receiver)
    urls = [receiver.url("taken"), *(url for url, _ in broken.values())]
    outbox.tell([trouble()], NOW_MS, urls)

    report = deliver(outbox, urls, NOW_MS, budget_s=8)

    said = {failure.address: failure.why for failure in report.failures}
    assert (report.sent, report.waiting) == (1, len(broken))
    assert receiver.texts() == ["crypto-data: a is in trouble."]
    for number, (name, (_, reason)) in enumerate(broken.items(), start=2):
        assert said.get(number, "").startswith(reason), name
    waiting = {one.address: (one.attempts, one.next_try_ms, one.why) for one in outbox.waiting()}
    assert waiting == {number: (1, NOW_MS + 30_000, why) for number, why in said.items()}


def test_apprise_takes_what_is_not_http(outbox, receiver) -> None:
    """An Apprise address gets the text as Apprise sends it."""
    urls = [receiver.url("taken", scheme="json")]
    (text,) = outbox.tell([Trouble("a", 1, "a.", NOW_MS, "", "")], NOW_MS, urls)

    report = deliver(outbox, urls, NOW_MS)

    assert (report.sent, report.failures) == (1, ())
    assert json.loads(receiver.taken[0][2])["message"].split() == text.split()


def test_a_failed_message_is_tried_again_and_its_followers_wait(outbox, receiver) -> None:
    """Not before its time, by another process too; then in order, each once."""
    urls = [receiver.url("once")]
    outbox.tell([trouble()], NOW_MS, urls)
    outbox.tell([], NOW_MS + 1, urls)
    later = Outbox(outbox._folder)  # as after a restart

    failed = deliver(outbox, urls, NOW_MS)
    early = deliver(later, urls, NOW_MS + 29_999)
    done = deliver(later, urls, NOW_MS + 30_000)
    again = deliver(later, urls, NOW_MS + 90_000)

    assert [(one.sent, one.waiting) for one in (failed, early, done, again)] == [
        (0, 2), (0, 2), (2, 0), (0, 0)
    ]  # fmt: skip
    assert receiver.texts("once") == [
        "crypto-data: a is in trouble.",
        "crypto-data: over: a is in trouble.",
    ]


def test_only_one_process_delivers(outbox, receiver) -> None:
    """A second one returns at once while the first waits for an answer."""
    urls = [receiver.url("hang"), receiver.url("taken")]
    outbox.tell([trouble()], NOW_MS, urls)
    first = threading.Thread(target=deliver, args=(outbox, urls, NOW_MS, 6))
    first.start()
    assert receiver.met.wait(20)

    start = time.monotonic()
    second = deliver(Outbox(outbox._folder), urls, NOW_MS)
    seconds = time.monotonic() - start
    first.join(30)

    assert (second.sent, second.failures) == (0, ())
    assert seconds < 1
    assert len(receiver.taken) == 1


DELIVERER = """
import sys
from pathlib import Path
from pydantic import SecretStr
from crypto_data.alerts.delivery import deliver
from crypto_data.alerts.outbox import Outbox

deliver(Outbox(Path(sys.argv[1])), [SecretStr(sys.argv[2])], int(sys.argv[3]))
"""


@pytest.mark.slow
def test_a_kill_while_delivering_leaves_the_message_to_the_next_process(outbox, receiver) -> None:
    """Killed before the answer, the right to deliver is free again and the message waits."""
    url = receiver.url("hang")
    outbox.tell([trouble()], NOW_MS, [url])
    arguments = [str(outbox._folder), url.get_secret_value(), str(NOW_MS)]
    with subprocess.Popen([sys.executable, "-c", DELIVERER, *arguments]) as first:
        assert receiver.met.wait(20)
        first.kill()
    left = [(one.kind, one.attempts) for one in outbox.waiting()]
    receiver.end.set()

    report = deliver(outbox, [url], NOW_MS)

    assert left == [("started", 0)]
    assert (report.sent, report.waiting, report.failures) == (1, 0, ())


@pytest.mark.parametrize(
    ("start", "why"),
    [
        pytest.param("import time; time.sleep(60)", "no answer within 1 s", id="hangs"),
        pytest.param("import os; os._exit(7)", "ended with status 7", id="dies"),
        pytest.param(
            "import os; print('{}', '[1]', 'x', sep=chr(10), flush=True); os._exit(0)",
            "",
            id="babbles",
        ),
    ],
)
def test_a_child_that_hangs_or_dies_is_a_failure(outbox, tmp_path, monkeypatch, start, why) -> None:
    """The child is killed after the budget; nothing is confirmed that it did not say."""
    (tmp_path / "sitecustomize.py").write_text(start)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    urls = [SecretStr("http://127.0.0.1:1/one")]
    outbox.tell([trouble()], NOW_MS, urls)

    others = psutil.Process().children()  # such as multiprocessing's own, of an earlier test
    before = time.monotonic()
    report = deliver(outbox, urls, NOW_MS, budget_s=1)

    assert time.monotonic() - before < 5
    assert (report.sent, report.waiting) == (0, 1)
    assert [why in failure.why for failure in report.failures] == ([True] if why else [])
    assert psutil.Process().children() == others


def test_an_address_stands_in_no_argument_and_no_environment(outbox, receiver) -> None:
    """Whoever lists processes sees no address."""
    urls = [receiver.url(f"processes/{TOKEN}")]
    outbox.tell([trouble()], NOW_MS, urls)

    report = deliver(outbox, urls, NOW_MS)

    assert report.sent == 1
    assert "crypto_data.alerts.courier" in receiver.processes[0]
    assert TOKEN not in str(receiver.processes)


def leaks(*texts) -> list[str]:
    """Return every spelling of the secrets that stands in a text."""
    secrets = [TOKEN, USER, base64.b64encode(f"{USER}:{TOKEN}".encode()).decode()]
    return [one for one in secrets for text in texts if one.lower() in text.lower()]


def files_of(folder) -> list[str]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return [path.read_bytes().decode(errors="replace") for path in paths] + list(map(str, paths))


def test_the_search_for_secrets_finds_a_planted_one(tmp_path) -> None:
    """A secret in a file, in any case, in base64, or in a file's name is found."""
    login = base64.b64encode(f"{USER}:{TOKEN}".encode()).decode()
    for place, text in ((TOKEN, ""), ("plain", TOKEN.upper()), ("login", f"Basic {login}")):
        (tmp_path / place).mkdir()
        (tmp_path / place / "file").write_text(text)
        assert leaks(*files_of(tmp_path / place)), place


# Tells and delivers with all that Python and its libraries can say about it.
TALKATIVE = """
import logging, sys, warnings
from datetime import date
from pathlib import Path
logging.basicConfig(level=1, stream=sys.stderr)
warnings.simplefilter("always")
import os
from crypto_data.alerts.address import read_addresses
from crypto_data.alerts.delivery import Letter, deliver
from crypto_data.alerts.outbox import Outbox
from crypto_data.alerts.trouble import Trouble
from crypto_data.catalog.configuration import load_catalog
from crypto_data.lake.layout import ALERTS

catalog = load_catalog(Path(sys.argv[1]), os.environ, date(2024, 3, 1))
print(catalog, repr(catalog), catalog.alerts.urls, catalog.model_dump(), catalog.model_dump_json())
outbox, urls = Outbox(catalog.lake / ALERTS), catalog.alerts.urls
outbox.tell([Trouble("a", 1, "a.", 0, "", "")], 0, urls)
print(deliver(outbox, urls, 0, 8), outbox.waiting(), outbox.due(10**12, urls))
print([Letter(1, one, str(one)) for one in read_addresses(urls)])
"""


@pytest.mark.slow
def test_no_secret_is_written_or_said(desk, receiver) -> None:
    """Whatever goes wrong at an address: no output, log or file holds a part of it."""
    broken = [url.get_secret_value() for url, _ in faults(receiver).values()]
    # The configuration refuses none of them; each comes from the environment.
    names = {f"ALERT_{number}": url for number, url in enumerate(broken)}
    desk.environ |= names | {"CRYPTO_DATA_LOG_LEVEL": "DEBUG", "PYTHONDEVMODE": "1"}
    desk.environ["PYTHONWARNINGS"] = "ignore"
    listed = ", ".join(f'"${{{name}}}"' for name in names)
    desk.configure(more=f"alerts:\n  urls: [{listed}]\n")

    talked = subprocess.run(
        [sys.executable, "-c", TALKATIVE, str(desk.config)],
        env=desk.environ, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    runs = [talked, *(desk.run(*words) for words in (["alerts", "test"], ["alerts"], ["status"]))]

    assert [run.returncode for run in runs[:3]] == [0, 1, 0]
    assert len(runs[1].stdout.splitlines()) == len(broken)
    assert "alerts: address 2 (http): answers with HTTP 500" in talked.stderr
    assert leaks(*(run.stdout + run.stderr for run in runs)) == []
    assert leaks(*files_of(desk.folder.parent)) == []


def test_a_test_message_goes_to_every_address(desk, receiver) -> None:
    """Each address has a line on stdout; 1 when one failed; JSON and CSV carry the same."""
    good, bad = (receiver.url(word).get_secret_value() for word in ("taken", "500"))
    desk.environ |= {"GOOD": good, "BAD": bad}
    desk.configure(more='alerts:\n  urls: ["${GOOD}", "${BAD}"]\n')

    done = desk.run("alerts", "test")
    as_json = desk.run("alerts", "test", "--format", "json")

    assert (done.returncode, as_json.returncode) == (1, 1)
    assert done.stdout.splitlines() == [
        "address 1 (http): delivered",
        "address 2 (http): answers with HTTP 500",
    ]
    assert json.loads(as_json.stdout) == [
        {"address": 1, "scheme": "http", "delivered": True, "why": ""},
        {"address": 2, "scheme": "http", "delivered": False, "why": "answers with HTTP 500"},
    ]
    assert receiver.texts() == ["crypto-data: test"] * 2
    assert not (desk.folder / "lake" / "_alerts").exists()


def test_without_an_address_there_is_nothing_to_test(desk) -> None:
    """The key to write is named, and the status is that of a wrong configuration."""
    desk.configure()

    done = desk.run("alerts", "test")
    shown = desk.run("alerts")

    assert (done.returncode, done.stdout) == (2, "")
    assert "alerts.urls" in done.stderr
    assert (shown.returncode, shown.stdout) == (0, "")
    assert "nobody is being told of anything" in shown.stderr
    assert "nobody is told" in shown.stderr


def test_alerts_and_waiting_messages_are_shown(desk, receiver) -> None:
    """What lasts, since when, when it was last told; what waits, where, and why."""
    desk.environ["BAD"] = receiver.url("500").get_secret_value()
    catalog = desk.configure(more='alerts:\n  urls: ["${BAD}"]\n')
    outbox = Outbox(desk.folder / "lake" / "_alerts")
    outbox.tell([trouble()], NOW_MS, catalog.alerts.urls)
    deliver(outbox, catalog.alerts.urls, NOW_MS)

    shown, as_json = desk.run("alerts"), desk.run("alerts", "--format", "json")

    alert, message = json.loads(as_json.stdout)
    assert (shown.returncode, as_json.returncode, as_json.stderr) == (0, 0, "")
    assert (alert["kind"], alert["key"], alert["level"]) == ("alert", "a", 1)
    assert alert["since"] == alert["last_told"] == "2024-03-07T02:00:00Z"
    assert (message["kind"], message["address"], message["attempts"]) == ("started", 1, 1)
    assert message["next_try"] == "2024-03-07T02:00:30Z"
    assert message["why"] == "answers with HTTP 500"
    assert "a is in trouble." in shown.stdout
    assert "2024-03-07 02:00:30" in shown.stdout
    assert "1 messages wait" in shown.stderr
