"""Open pages of Dagster in the machine's Chromium: `browser_pages.py URL CHROMIUM ASSET DAYS N`.

Runs in the browser's environment, by itself. Prints as JSON, for each page, the seconds from the
navigation until it is usable: first in a browser that has never seen it, then N times again.
"""

import json
import sys
import time
from collections.abc import Callable

from playwright.sync_api import Page, sync_playwright

PATIENCE_MS = 60_000
VIEWPORT = {"width": 1500, "height": 950}


def open_asset(page: Page, url: str, asset: str, days: int) -> None:
    """Wait until all days are counted, and a click on one shows its materialization."""
    page.goto(f"{url}/assets/{asset}?view=partitions", wait_until="commit")
    page.get_by_text(f"Materialized ({days})").wait_for()
    page.get_by_text("2025-12-30", exact=True).first.click()
    page.get_by_text("View all historical events (1)").wait_for()


def open_graph(page: Page, url: str) -> None:
    """Wait until nodes show how much of them is filled, and a click on one opens its panel.

    The click is on plain words of a node: what it shows of its partitions is a link, which opens
    a second page that loads, and stays and asks for news, beside the one that is measured.
    """
    page.goto(f"{url}/asset-groups", wait_until="commit")
    page.get_by_text("% filled").first.wait_for()
    page.get_by_text("Latest event").nth(1).click()
    page.get_by_text("View in Asset Catalog").wait_for()


def measure(url: str, chromium: str, asset: str, days: int, turns: int) -> dict[str, list[float]]:
    """Return the seconds of each page, the first visit first."""
    pages: dict[str, Callable[[Page], None]] = {
        "asset": lambda page: open_asset(page, url, asset, days),
        "graph": lambda page: open_graph(page, url),
    }
    seconds: dict[str, list[float]] = {name: [] for name in pages}
    with sync_playwright() as playwright:
        for name, visit in pages.items():
            # Each in a browser of its own, whose cache is empty.
            browser = playwright.chromium.launch(
                executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
            )
            page = browser.new_page(viewport=VIEWPORT)
            page.set_default_timeout(PATIENCE_MS)
            for _ in range(1 + turns):
                page.goto("about:blank")
                started = time.perf_counter()
                visit(page)
                seconds[name].append(time.perf_counter() - started)
                if len(page.context.pages) > 1:
                    raise RuntimeError("a click has opened another page")
            browser.close()
    return seconds


if __name__ == "__main__":
    address, program, key, count, repeats = sys.argv[1:]
    sys.stdout.write(json.dumps(measure(address, program, key, int(count), int(repeats))))
