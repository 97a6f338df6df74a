"""The user's own texts: `make demo TEXTS=folder-or-csv`."""

import os
import subprocess
import sys
import tempfile
import unittest
from datetime import date
from pathlib import Path

from page import breaks, texts
from page.database import as_superuser
from support import PageTest, Server

CSV = """Title;Body;Category;Date
Bread;"Bread is made of flour, water and yeast. It is baked in an oven.";food;2024-03-01
Tides;"The moon pulls the sea. Twice a day the water rises.";nature;2025-01-15T10:00:00
;"A row without a title; with a semicolon and a ""quote"".";;not a date
Empty;;food;2024-01-01
"""


class Reading(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.home = Path(folder.name)

    def test_folder(self) -> None:
        (self.home / "animals").mkdir()
        (self.home / ".git").mkdir()
        for name, data in {
            "a.txt": "Grass is green.".encode(),
            "animals/b.md": "# Whales\n\nWhales sing.".encode(),
            "c.txt": b"\x00\x01\x02",
            "d.txt": b"caf\xe9",
            "e.png": b"no text",
            "f.txt": b" \n",
            ".git/g.txt": b"hidden",
            "h.txt": "With a mark.".encode("utf-16"),
        }.items():
            (self.home / name).write_bytes(data)
        self.assertEqual(
            texts.own(self.home),
            [
                texts.Document("a.txt", "a", "", None, "Grass is green."),
                texts.Document("animals/b.md", "Whales", "animals", None, "# Whales\n\nWhales sing."),
                texts.Document("h.txt", "h", "", None, "With a mark."),
            ],
        )

    def test_csv(self) -> None:
        path = self.home / "own.csv"
        path.write_text(CSV)
        found = texts.own(path)
        self.assertEqual(
            [each.title for each in found],
            ["Bread", "Tides", 'A row without a title; with a semicolon and a "quote".'],
        )
        self.assertEqual([each.published for each in found], [date(2024, 3, 1), date(2025, 1, 15), None])
        self.assertEqual([each.category for each in found], ["food", "nature", ""])

    def test_what_cannot_be_read(self) -> None:
        (self.home / "numbers.csv").write_text("a,b\n1,2\n")
        (self.home / "empty.csv").write_text("")
        for path in ("missing", "numbers.csv", "empty.csv", "."):
            with self.subTest(path), self.assertRaisesRegex(texts.Unusable, "TEXTS="):
                texts.own(self.home / path)

    def test_breaks(self) -> None:
        """Long texts without sentences get passages of a length that can be read; no character is lost."""
        for text in (
            "word " * 2000,
            "字" * 5000,
            "- item without an end\n" * 400,
            "A sentence. " * 500,
            "x" * 1000 + "\n" + "y" * 1000,
        ):
            with self.subTest(text[:10]):
                added = breaks.added(text)
                kept = "".join(line for line in added.split("\n") if line != "# ")
                self.assertEqual(kept, text.replace("\n", ""))
                for passage in added.split("# \n"):
                    self.assertLess(max(map(len, passage.split(". "))), 2 * breaks.LONGEST)
        self.assertEqual(breaks.added("A sentence. " * 500), "A sentence. " * 500)


class OwnTexts(PageTest):
    """A database of the user's texts, made by the loader, and the page on it."""

    def test_page_of_own_texts(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "own.csv"
            path.write_text(CSV)
            with as_superuser("postgres") as admin:
                admin.execute("DROP DATABASE IF EXISTS page_texts WITH (FORCE)")
            environment = os.environ | {"PAGE_DATABASE": "page_texts"}
            for words in ("questions for the cache", "in the database already"):
                done = subprocess.run(
                    [sys.executable, "-m", "page.load", str(path)],
                    env=environment,
                    capture_output=True,
                    text=True,
                    check=False,
                )
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn(words, done.stderr)
            bad = subprocess.run(
                [sys.executable, "-m", "page.load", folder],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            self.assertEqual(bad.returncode, 1)
            self.assertRegex(bad.stderr, r"^error: TEXTS=.*: no text in it")
        own = Server(PAGE_DATABASE="page_texts")
        try:
            usual, type(self).server = self.server, own
            page = self.open("ask")
            self.assertIn("3 passages", page.locator("#about").inner_text())
            page.fill("#ask-question", "What makes the water rise?")
            page.press("#ask-question", "Enter")
            page.locator("#ask .sources").wait_for()
            self.assertIn("Tides", page.locator("#ask .sources li").first.inner_text())
            page.fill("#ask-since", "2024-06-01")
            page.locator("#ask .sources > li").nth(1).wait_for(state="detached")
            self.assertEqual(page.locator("#ask .sources > li").count(), 1)
            for view in ("chat", "summarise", "cache", "index"):
                page.locator(f"#tab-{view}").click()
                page.wait_for_timeout(500)
                self.idle(page, view)
                self.assertEqual(page.locator(f"#{view} .status.error").count(), 0, view)
            page.locator("#curve-run").click()
            page.locator("text=Measure again").wait_for()
            self.fits(page, "own texts")
        finally:
            type(self).server = usual
            self.assertNotIn("Traceback", own.stop())


if __name__ == "__main__":
    unittest.main()
