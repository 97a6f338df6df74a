"""Bad input: answered, or refused with words; never a stack trace, and texts stay texts."""

import http.client
import json
import unittest
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

from support import SIZES, PageTest, Server

STRANGE = {
    "SQL": "'; DROP TABLE qa.passages; --",
    "SQL of a copy": "1) UNION SELECT usename, passwd FROM pg_shadow -- \\bind 'x' \\g",
    "placeholders": "$1 %s %(question)s {} \\x00 \\ ''",
    "HTML": "<img src=x onerror=alert(1)><script>alert(2)</script><b>bold</b>",
    "emoji": "🐘🦣 👩‍👩‍👧‍👦 🏳️‍🌈",
    "Chinese": "有象牙和长鼻子的巨大动物",
    "Arabic": "حيوان ضخم له أنياب وخرطوم",
    "Russian": "огромное животное с бивнями и хоботом",
    "combining marks": "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘!",
    "one character": "?",
    "spaces within": "a \t\t  b",
    "tsquery": "! & | ( ) :* <-> 'a' \\",
    "long word": "a" * 2000,
}
ENDPOINTS = {  # path: (the field that is text, the others)
    "ask": ("question", {}),
    "cache/ask": ("question", {}),
    "chat/say": ("text", {"person": "Cleo"}),
    "summarise": ("text", {}),
    "index/insert": ("text", {"title": "strange"}),
}


class BadInput(PageTest):
    def post(self, path: str, body: bytes | dict, **headers: str) -> tuple[int, dict]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection = http.client.HTTPConnection(urlsplit(self.server.address).netloc, timeout=120)
        try:
            connection.request("POST", f"/api/{path}", data, {"Content-Type": "application/json"} | headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        except ConnectionError:  # refused while we were still sending
            return 413, {"error": "closed"}
        finally:
            connection.close()
        self.assertNotIn("Traceback", text)
        self.assertNotIn('File "', text)
        return answer.status, json.loads(text)

    def refused(self, path: str, body: bytes | dict, status: int = 400, **headers: str) -> str:
        got, answer = self.post(path, body, **headers)
        self.assertEqual(got, status, answer)
        self.assertRegex(answer["error"], r"^\S.*\.$")
        return answer["error"]

    def test_strange_texts_are_answered(self) -> None:
        # What is kept here would be in the other tests' pictures.
        self.addCleanup(
            self.db.execute,
            "DELETE FROM cache.entries WHERE question = ANY (%s)",
            [[text.strip() for text in STRANGE.values()]],
        )
        tables = self.sql("SELECT count(*) FROM pg_class")
        documents = self.sql("SELECT count(*) FROM qa.documents")
        for path, (field, others) in ENDPOINTS.items():
            for what, text in STRANGE.items():
                with self.subTest(path=path, what=what):
                    status, answer = self.post(path, others | {field: text})
                    self.assertEqual(status, 200, answer)
        self.assertEqual(
            self.sql("SELECT body FROM memory.messages WHERE owner = 'Cleo' AND body = %s", STRANGE["SQL"]),
            [(STRANGE["SQL"],)],
        )
        self.assertEqual(self.sql("SELECT count(*) FROM pg_class"), tables)
        for (document,) in self.sql("SELECT id FROM qa.documents WHERE title = 'strange'"):
            self.assertEqual(self.post("index/remove", {"document": document}), (200, {"removed": document}))
        self.assertEqual(self.sql("SELECT count(*) FROM qa.documents"), documents)

    def test_what_is_no_text_is_refused(self) -> None:
        for path, (field, others) in ENDPOINTS.items():
            for what, value, words in [
                ("empty", "", "empty"),
                ("spaces", " \n\t ", "empty"),
                ("NUL", "a\0b", "NUL"),
                ("binary", "\x01\x02\x7f\x1b[2J", "control"),
                ("surrogate", "a\ud800b", "surrogate"),
                ("too long", "long " * 30_000, "too many"),
                ("a number", 7, "text is expected"),
                ("a list", ["a"], "text is expected"),
                ("null", None, "text is expected"),
            ]:
                with self.subTest(path=path, what=what):
                    self.assertIn(words, self.refused(path, others | {field: value}))

    def test_bodies(self) -> None:
        for what, body in {
            "empty": b"",
            "binary": bytes(range(256)),
            "half": b'{"question": "a',
            "list": b"[]",
            "text": b'"a"',
            "deep": b"[" * 100_000,
            "latin-1": '{"question": "é"}'.encode("latin-1"),
            "infinity": b'{"question": "a", "meaning": Infinity}',
        }.items():
            with self.subTest(what):
                self.refused("ask", body)
        self.assertEqual(self.post("ask", {"question": "x" * 1_000_000})[0], 413)
        self.assertEqual(self.post("summarise", b"\xff" * 5_000_000)[0], 413)
        self.refused("ask", b"question=a", 415, **{"Content-Type": "application/x-www-form-urlencoded"})

    def test_other_fields(self) -> None:
        for field, value in [
            ("meaning", 2),
            ("meaning", "much"),
            ("meaning", True),
            ("since", "yesterday"),
            ("since", "2020-13-01"),
            ("category", 5),
            ("category", "a\0"),
        ]:
            with self.subTest(field=field, value=value):
                self.refused("ask", {"question": "a", field: value})
        status, answer = self.post("ask", {"question": "a", "category": "' OR '1'='1", "since": "9999-12-31"})
        self.assertEqual((status, answer["sources"]), (200, []))
        for most in (0, 13, 2.5, -1, 1e300):
            self.refused("summarise", {"text": "One. Two.", "most": most})
        self.refused("summarise", {"document": 2**52}, 404)
        self.refused("summarise", {"text": "A. " * 700})
        self.refused("chat/say", {"person": "Mallory", "text": "a"}, 404)
        self.refused("chat/say", {"person": "' OR true --", "text": "a"}, 404)
        self.refused("index/remove", {"document": 1}, 404)
        self.refused("ask/generate", {"question": "a"}, 404)
        self.refused("nothing", {}, 405)

    def test_only_this_page_may_ask(self) -> None:
        """A name of another site that leads to loopback is refused."""
        connection = http.client.HTTPConnection(urlsplit(self.server.address).netloc)
        connection.request("GET", "/api/about", headers={"Host": "evil.example"})
        self.assertEqual(connection.getresponse().status, 400)
        connection.close()
        connection.request("GET", "/")
        answer = connection.getresponse()
        self.assertIn("default-src 'self'", answer.headers["Content-Security-Policy"])
        connection.close()
        self.assertTrue(self.server.address.startswith("http://127.0.0.1:"))

    def test_database_is_gone(self) -> None:
        own = Server(PGPORT="1")
        try:
            with self.assertRaises(HTTPError) as raised:
                urlopen(f"{own.address}api/about", timeout=60)
            self.assertEqual(raised.exception.code, 503)
            self.assertIn("cannot be reached", json.loads(raised.exception.read())["error"])
        finally:
            self.assertNotIn("Traceback", own.stop())

    def test_page_shows_texts_as_texts(self) -> None:
        for size in SIZES:
            for what, text in STRANGE.items():
                with self.subTest(size=size, what=what):
                    page = self.open("chat", size)
                    page.locator("#chat-conversation option").nth(1).wait_for(state="attached")
                    page.fill("#chat-text", text)
                    page.press("#chat-text", "Enter")
                    page.locator("#chat-messages .extract").wait_for()
                    shown = page.locator("#chat-messages .own p").last.text_content()
                    self.assertEqual(shown, text.strip())
                    self.assertEqual(
                        page.locator("main img, main script, main b:has-text('bold')").count(), 0
                    )
                    self.fits(page, what)
                    page.context.close()

    def test_page_says_what_is_wrong(self) -> None:
        page = self.open("summarise")
        page.locator("#summarise-form button.primary").click()
        page.locator("#summarise-status.error").wait_for()
        self.assertIn("it is empty", page.locator("#summarise-status").inner_text())
        self.assertEqual(page.locator("#summarise-status").get_attribute("role"), "alert")
        page.fill("#summarise-pasted", "Now it is a text. It has two sentences.")
        page.locator("#summarise-form button.primary").click()
        page.locator("#summarise-result .figures").wait_for()
        self.assertEqual(page.locator("#summarise-status").inner_text(), "")
        page.locator("#tab-ask").click()
        page.press("#ask-question", "Enter")
        self.assertTrue(page.locator("#ask .chips").is_visible())

    def test_page_says_that_the_server_is_gone(self) -> None:
        page = self.open("ask")
        page.route("**/api/ask", lambda route: route.abort())
        page.fill("#ask-question", "anything")
        page.press("#ask-question", "Enter")
        page.locator("#ask-status.error").wait_for()
        self.assertIn("does not answer", page.locator("#ask-status").inner_text())
        self.shot(page, "error")


if __name__ == "__main__":
    unittest.main()
