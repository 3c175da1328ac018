"""A month in the life of a lake: late files, lies, an outage, a ban, a crash, a week of nothing.

The exchange's clock is driven by the test; schedules, sensors, checks and alerts are those that
Dagster's daemon evaluates, on a real instance, against the exchange on loopback.
"""

import json
import os
import random
import re
import signal
import time
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from pathlib import Path

import dagster as dg
import pytest

from crypto_data.harvest import Aim
from crypto_data.lake.census import take_census
from crypto_data.lake.feeds import current_wishes
from crypto_data.lake.inventory import run_statement
from crypto_data.orchestration.assembly import build_definitions
from crypto_data.orchestration.errands import run_request
from crypto_data.orchestration.instance import open_instance, prepare_home
from crypto_data.orchestration.names import asset_keys
from crypto_data.orchestration.resources import current_clock
from crypto_data.orchestration.schedules import scheduled_errand
from crypto_data.sandbox.faults import Fault
from crypto_data.sandbox.server import Sandbox
from crypto_data.sandbox.symbols import Outage, Symbol, instant
from crypto_data.series import Market
from crypto_data.sources.connect import local_ms
from crypto_data_tests.conftest import ALERT_TOKEN

MONTH = date(2024, 5, 1)
END = date(2024, 6, 1)


def ms(text: str) -> int:
    return instant(text)


class Month:
    """The daemon's work, step by step, at the times the test chooses."""

    def __init__(self, desk, instance) -> None:
        self.desk = desk
        self.instance = instance
        self.cursors: dict[str, str | None] = {}
        self.scheduled: set[date] = set()
        self.load()

    def load(self) -> None:
        """Load the definitions as a code location does."""
        self.catalog = self.desk.catalog()
        definitions = build_definitions(self.catalog)
        self.repository = definitions.get_repository_def()
        self.job = definitions.resolve_implicit_global_asset_job_def()
        self.keys = asset_keys(self.catalog.all_series())

    def set_clock(self, now: datetime) -> None:
        self.desk.sandbox.set_clock(int(now.timestamp() * 1000))
        feeds = self.desk.lake.root / "_feeds.json"
        if feeds.exists():
            os.utime(feeds, (0, 0))  # so that the clock is measured anew
        current_clock(self.catalog)

    def step(self, now: datetime) -> None:
        """Let the daemon look at everything once."""
        self.sense("alerts")
        self.run_schedules(now.date())
        for name in ("gaps", "revisions", "checks", "alerts"):
            self.sense(name)

    def run_schedules(self, today: date) -> None:
        if today in self.scheduled:
            return
        self.scheduled.add(today)
        for feed in self.catalog.feeds:
            errand = scheduled_errand(self.catalog, feed)
            if errand is not None:
                self.execute(run_request(errand, self.keys, Aim.FILL, moment=str(today)))

    def sense(self, name: str) -> None:
        """Evaluate a sensor and execute the runs it asks for."""
        with dg.build_sensor_context(
            self.instance, cursor=self.cursors.get(name), repository_def=self.repository
        ) as context:
            result = self.repository.get_sensor_def(name).evaluate_tick(context)
        self.cursors[name] = result.cursor
        for request in result.run_requests or []:
            self.execute(request)

    def execute(self, request: dg.RunRequest) -> None:
        if not request.asset_selection:  # the judge's run
            job = self.repository.get_job("checks")
            result = job.execute_in_process(
                run_config=request.run_config, instance=self.instance, raise_on_error=False
            )
            assert result.success
            return
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        self.job.execute_in_process(
            instance=self.instance,
            asset_selection=request.asset_selection,
            run_config=request.run_config | quiet,
            tags=request.tags,
            raise_on_error=False,
        )

    def ask(self, statement: str) -> list[dict]:
        root = self.desk.lake.root
        census = take_census(root, local_ms(), current_wishes(self.catalog))
        return run_statement(root, census, statement).to_pylist()

    def check_lake(self, lying: date) -> None:
        """Every day is settled for good, and every row is the exchange's."""
        states = self.ask("SELECT state, count(*)::BIGINT AS days FROM coverage GROUP BY state")
        found = {row["state"]: row["days"] for row in states}

        assert set(found) == {"complete", "explained", "unlisted"}
        assert found["explained"] == 2  # the outage, of the two symbols that traded then
        corrected = self.ask("SELECT symbol, day, rows_changed FROM corrections")
        assert corrected == [{"symbol": "ETHUSDT", "day": lying, "rows_changed": 96}] * 2
        for series in self.catalog.all_series():
            assert self.desk.equals_truth(series, MONTH, END), series


@pytest.fixture
def own_sandbox():
    gone = Symbol(
        market=Market.SPOT,
        name="GONEUSDT",
        level=31_00,
        lives=((ms("2020-01-01"), ms("2024-05-20T03:00")),),
    )
    outage = Outage(Market.SPOT, ms("2024-05-08T10:00"), ms("2024-05-08T14:00"))
    with Sandbox(symbols=[gone], outages=[outage]) as sandbox:
        yield sandbox


SPOT = {
    "name": "spot",
    "symbols": ["BTCUSDT", "GONEUSDT"],
    "intervals": ["1h"],
    "start": str(MONTH),
    "end": str(END),
}
FUTURES = {
    "name": "futures",
    "market": "um",
    "symbols": ["ETHUSDT"],
    "intervals": ["15m"],
    "start": str(MONTH),
    "end": str(END),
}


@pytest.mark.slow
def test_a_month_ends_whole_and_a_person_heard_of_what_mattered(
    tmp_path, own_sandbox, new_desk, monkeypatch, alert_receiver
) -> None:
    """After a month of trouble every day is settled, every row is true, every alert was due."""
    seed = int(os.environ.get("CRYPTO_DATA_TEST_SEED") or random.SystemRandom().randrange(10**6))
    print(f"CRYPTO_DATA_TEST_SEED={seed} repeats this month")  # noqa: T201 - shown on failure
    desk = replace(new_desk(tmp_path), sandbox=own_sandbox)
    for name, value in desk.environ.items():
        monkeypatch.setenv(name, value)
    alerts = f'alerts:\n  urls: ["{alert_receiver.address}"]\n'
    desk.configure(SPOT, FUTURES, more=alerts)
    with open_instance(prepare_home(desk.folder, os.environ)) as instance:
        month = Month(desk, instance)
        events = Events(random.Random(seed), month, alerts)  # noqa: S311 - no secret
        live_through(month, events)
        events.check(alert_receiver.texts)
    month.check_lake(events.lying)


class Events:
    """What happens in the month, and on which days; the dice decide."""

    def __init__(self, dice: random.Random, month: Month, alerts: str) -> None:
        self.month = month
        self.alerts = alerts
        self.faults = month.desk.sandbox.faults
        late, halved, lying = dice.sample(range(2, 6), 3)
        self.banned, self.crashed = (date(2024, 5, day) for day in dice.sample(range(12, 16), 2))
        self.asleep = date(2024, 5, dice.randrange(20, 23))
        self.faults.add(
            Fault(f"*BTCUSDT-*-2024-05-0{late}.zip*", "absent"),
            Fault(f"*BTCUSDT-1h-2024-05-0{halved}.zip*", "missing_rows"),
            Fault(f"*ETHUSDT-15m-2024-05-0{lying}.zip*", "stale", factor=1.02),
        )
        self.lying = date(2024, 5, lying)

    def before(self, now: datetime) -> None:
        """Let happen what the exchange, the archive and people do before the daemon looks."""
        if now.hour != 0:
            return
        if now.date() == date(2024, 5, 10):
            self.faults.clear()  # late, halved and lying files are published anew, whole
        if now.date() == self.banned:
            ban = Fault("/api/v3/klines*", "status", status=418, retry_after=600, times=1)
            self.faults.add(ban)
        if now.date() == self.crashed:
            self.crash()
        if now.date() == date(2024, 5, 18):
            spot = SPOT | {"symbols": [*SPOT["symbols"], "NEWUSDT"]}
            self.month.desk.configure(spot, FUTURES, more=self.alerts)
            self.month.load()

    def after(self, now: datetime) -> None:
        if now.date() == self.banned and now.hour == 0:
            self.end_ban()

    def end_ban(self) -> None:
        """Let its ten minutes be over: bans run by the clock of this machine, not the month's."""
        gate = self.month.desk.state / "gate.json"
        closings = json.loads(gate.read_text())
        for closing in closings.values():
            closing["until_ms"] -= 600_000
        gate.write_text(json.dumps(closings))

    def crash(self) -> None:
        """Kill a command in the middle of its work."""
        desk = self.month.desk
        self.faults.add(Fault("/fapi/v1/klines*", "delay", seconds=3.0, times=1))
        desk.sandbox.requests.clear()
        command = desk.start("collect")
        deadline = time.monotonic() + 30
        while not desk.asked("/fapi/v1/klines") and time.monotonic() < deadline:
            time.sleep(0.05)
        command.send_signal(signal.SIGKILL)
        command.communicate()

    def check(self, texts: list[str]) -> None:
        """The alerts that went out are those that each event calls for, in order, and no other."""
        due = {
            date(2024, 5, 9): ["spot failed", "still: spot failed", "over: spot failed"],
            self.banned: [
                "spot failed",
                "refused",
                "still: spot failed",
                "over: refused",
                "over: spot failed",
            ],
            self.crashed: ["futures failed", "over: futures failed"],
            self.asleep: ["spot stale", "futures stale", "over: spot stale", "over: futures stale"],
        }
        expected = [one for day in sorted(due) for one in due[day]]

        assert [_short(text) for text in texts] == expected
        assert not any(ALERT_TOKEN in text for text in texts)
        assert not any(ALERT_TOKEN.encode() in path.read_bytes() for path in self._files())

    def _files(self) -> list[Path]:
        """Return all files of the lake, of Dagster and of our own state, the configuration not."""
        desk = self.month.desk
        folders = (desk.lake.root, desk.state, Path(desk.environ["DAGSTER_HOME"]))
        return [path for folder in folders for path in folder.rglob("*") if path.is_file()]


def _short(text: str) -> str:
    """Return the first line of an alert in two words."""
    line = text.splitlines()[0].removeprefix("crypto-data: ")
    kind = re.match("(still|worse|over): |", line)[0]
    feed = re.search(r"Feed (\w+): (its last run failed|nothing new)", line)
    if feed:
        return f"{kind}{feed[1]} {'failed' if 'failed' in feed[2] else 'stale'}"
    return f"{kind}refused" if "refuses us" in line else line


def live_through(month: Month, events: Events) -> None:
    """Look at everything a few times a day, but for the week in which nothing runs."""
    now = datetime.combine(MONTH + timedelta(days=1), time_of_day(0, 40), UTC)
    while now < datetime(2024, 6, 5, tzinfo=UTC):
        month.set_clock(now)
        events.before(now)
        month.step(now)
        events.after(now)
        now += timedelta(hours=12)
        if now.date() == events.asleep and now.hour == 0:
            now += timedelta(days=7)
