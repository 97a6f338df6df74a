"""All five views, at desktop and phone width: what they show is what SQL says."""

import json
import re
import unittest
from urllib.request import Request, urlopen

from page import ask, chat
from support import SIZES, VIEWS, PageTest

ELEPHANT = "a huge animal with tusks and a trunk"


class Ask(PageTest):
    def ask(self, page, question: str) -> None:
        page.fill("#ask-question", question)
        page.press("#ask-question", "Enter")
        page.locator("#ask-result .sources, #ask-result .empty:not(:has(.chips))").first.wait_for()
        self.idle(page, "ask")

    def expected(self, question: str, category=None, since=None, meaning=0.7) -> list[int]:
        return [
            row[0]
            for row in self.sql(
                "SELECT passage FROM qa.search(%s, %s, %s, %s, %s, %s) ORDER BY score DESC, passage",
                question,
                self.vector(question),
                ask.SOURCES,
                category,
                since,
                meaning,
            )
        ]

    def test_answer_and_sources(self) -> None:
        for size in SIZES:
            with self.subTest(size):
                page = self.open("ask", size)
                self.assertEqual(page.locator("#ask .chips button").count(), 4)
                self.fits(page, "empty")
                self.ask(page, ELEPHANT)
                shown = self.ids(page, "#ask .sources > li", "passage")
                self.assertEqual(shown, self.expected(ELEPHANT))
                self.assertEqual([int(line.split("|")[0]) for line in self.psql(page, "ask", 0)], shown)
                picked = self.ids(page, "#ask .sentences p", "passage")
                rows = self.sql(
                    "SELECT passage, body FROM qa.sentences WHERE passage = ANY (%s) "
                    "ORDER BY embedding <=> %s, passage, position LIMIT 3",
                    shown,
                    self.vector(ELEPHANT),
                )
                self.assertEqual(picked, [row[0] for row in rows])
                for place, (_, body) in enumerate(rows):
                    self.assertIn(
                        " ".join(body.split()), page.locator("#ask .sentences p").nth(place).inner_text()
                    )
                self.assertIn("No language model", page.locator("#ask .answer").inner_text())
                self.fits(page, "answered")
                self.shot(page, f"ask-{size}")

    def test_recall_and_plan(self) -> None:
        page = self.open("ask")
        self.ask(page, ELEPHANT)
        vector = self.vector(ELEPHANT)
        near = "SELECT embedding <=> %s AS d FROM qa.passages ORDER BY d LIMIT 10"
        by_index = [row[0] for row in self.sql(near, vector)]
        self.db.execute("SET enable_indexscan = off")
        exact = [row[0] for row in self.sql(near, vector)]
        self.db.execute("RESET enable_indexscan")
        found = sum(distance <= exact[-1] + 1e-6 for distance in by_index)
        self.assertEqual(self.figure(page, "ask", "recall"), f"{found} of 10")
        for key in ("index_ms", "exact_ms", "search_ms", "embed_ms"):
            self.assertRegex(self.figure(page, "ask", key), r"^\d[\d.]* (ms|s)$")
        page.locator("#ask .statements summary").last.click()
        plan = page.locator("#ask .statements .plan").last.inner_text()
        self.assertIn("passages_by_meaning", plan)
        self.assertRegex(plan, r"IVF: lists=\d+ of \d+ .*codes=\d+|ivf_last_scan")
        # The SQL shown is the SQL that ran: it has the statement's own placeholders, and its values beneath.
        self.assertIn("ORDER BY p.embedding <=> $1 LIMIT $4", page.locator("#ask .sql").last.inner_text())
        self.shot(page, "ask-plan")

    def test_filters(self) -> None:
        page = self.open("ask")
        self.ask(page, "machine")
        page.select_option("#ask-category", "computing")
        self.idle(page, "ask")
        shown = self.ids(page, "#ask .sources > li", "passage")
        self.assertEqual(shown, self.expected("machine", "computing"))
        self.assertEqual(
            self.sql("SELECT DISTINCT category FROM qa.passages WHERE id = ANY (%s)", shown), [("computing",)]
        )
        page.fill("#ask-since", "2000-01-01")
        page.locator("#ask-since").dispatch_event("change")
        self.idle(page, "ask")
        shown = self.ids(page, "#ask .sources > li", "passage")
        self.assertEqual(shown, self.expected("machine", "computing", "2000-01-01"))
        self.assertEqual(
            self.sql("SELECT min(published) >= '2000-01-01' FROM qa.passages WHERE id = ANY (%s)", shown),
            [(True,)],
        )
        page.fill("#ask-since", "")
        for value in (0, 100):
            page.locator("#ask-meaning").fill(str(value))
            page.locator("#ask-meaning").dispatch_event("change")
            self.idle(page, "ask")
            self.assertEqual(
                self.ids(page, "#ask .sources > li", "passage"),
                self.expected("machine", "computing", None, value / 100),
            )

    def test_nothing_passes(self) -> None:
        page = self.open("ask")
        page.select_option("#ask-category", "food")
        page.fill("#ask-since", "2009-01-01")
        self.ask(page, "soup")
        self.assertIn("No passage passes", page.locator("#ask-result").inner_text())

    def test_far(self) -> None:
        """A question that nothing answers is told so."""
        page = self.open("ask")
        self.ask(page, "xq zzv kkj")
        shown = page.locator("#ask .answer").inner_text()
        nearest = self.sql(
            "SELECT min(embedding <=> %s) FROM qa.passages WHERE id = ANY (%s)",
            self.vector("xq zzv kkj"),
            self.ids(page, "#ask .sources > li", "passage"),
        )[0][0]
        self.assertEqual("Nothing in the texts is near" in shown, nearest > ask.FAR)


class Chat(PageTest):
    def say(self, page, text: str) -> int:
        before = page.locator("#chat-messages .own, #chat-messages [data-id]").count()
        page.fill("#chat-text", text)
        page.press("#chat-text", "Enter")
        page.locator(f"#chat-messages .own >> text={text}").last.wait_for()
        page.locator("#chat-messages .extract").last.wait_for()
        self.idle(page, "chat")
        self.assertGreater(page.locator("#chat-messages [data-id]").count(), before - 1)
        return self.ids(page, "#chat-messages .own", "id")[-1]

    def test_memory(self) -> None:
        for size in SIZES:
            with self.subTest(size):
                page = self.open("chat", size)
                page.locator("#chat-conversation option").nth(1).wait_for(state="attached")
                page.select_option("#chat-person", "Ben")
                self.idle(page, "chat")
                listed = self.sql(
                    "SELECT count(DISTINCT conversation) FROM memory.messages WHERE owner = 'Ben'"
                )
                self.assertEqual(page.locator("#chat-conversation option").count() - 1, min(60, listed[0][0]))
                self.fits(page, "empty")
                text = f"I am really tired today, said on the {size}"
                said = self.say(page, text)
                (row,) = self.sql(
                    "SELECT owner, sender, body, sent_at, conversation FROM memory.messages WHERE id = %s",
                    said,
                )
                self.assertEqual(row[:3], ("Ben", "Ben", text))
                self.compare(page, text, row[3], "Ben", 30)
                summary = self.sql("SELECT messages FROM memory.summaries WHERE conversation = %s", row[4])[
                    0
                ][0]
                self.assertEqual(sorted(self.ids(page, "#chat-memory .summary li", "id")), sorted(summary))
                self.fits(page, "remembered")
                self.shot(page, f"chat-{size}")

    def compare(self, page, text: str, now, person: str, days: int) -> None:
        """What is shown as remembered is what memory.recall finds, for this person alone."""
        with self.db.transaction():
            self.sql("SELECT set_config('memory.owner', %s, true)", person)
            self.db.execute("SET LOCAL ROLE page")
            rows = self.sql(
                "SELECT r.id, r.score, 1 - (m.embedding <=> %s) FROM memory.recall(%s, %s, %s, %s) r "
                "JOIN memory.messages m USING (id) ORDER BY r.score DESC, r.id",
                self.vector(text),
                self.vector(text),
                chat.MOST,
                now,
                f"{days} days",
            )
        self.assertEqual(self.ids(page, "#chat-memory .memories li", "id"), [row[0] for row in rows])
        owners = self.sql(
            "SELECT DISTINCT owner FROM memory.messages WHERE id = ANY (%s)", [row[0] for row in rows]
        )
        self.assertEqual(owners, [(person,)])
        for place, (_, score, similarity) in enumerate(rows):
            numbers = (
                page.locator("#chat-memory .memories li").nth(place).locator(".number").all_inner_texts()
            )
            self.assertEqual((numbers[0], numbers[2]), (f"{similarity:.2f}", f"{score:.2f}"))

    def test_half_life(self) -> None:
        """The slider changes which messages are remembered first."""
        page = self.open("chat")
        page.locator("#chat-conversation option").nth(1).wait_for(state="attached")
        for place, days in ((0, 1), (6, 3650)):
            page.locator("#chat-half").fill(str(place))
            text = f"Do you like dogs? {days}"
            said = self.say(page, text)
            ((now,),) = self.sql("SELECT sent_at FROM memory.messages WHERE id = %s", said)
            self.compare(page, text, now, "Ada", days)

    def test_old_conversation(self) -> None:
        page = self.open("chat")
        page.locator("#chat-conversation option").nth(1).wait_for(state="attached")
        page.locator("#chat-conversation").select_option(index=1)
        page.locator("#chat-messages [data-id]").first.wait_for()
        wanted = int(page.locator("#chat-conversation").input_value())
        rows = self.sql("SELECT id FROM memory.messages WHERE conversation = %s ORDER BY sent_at, id", wanted)
        self.assertEqual(self.ids(page, "#chat-messages > li", "id"), [row[0] for row in rows])

    def test_people_are_apart(self) -> None:
        """Another person's conversation cannot be read or written, whatever a browser sends."""
        ((other,),) = self.sql("SELECT min(conversation) FROM memory.messages WHERE owner = 'Ben'")
        with urlopen(f"{self.server.address}api/chat/messages?person=Ada&conversation={other}") as response:
            self.assertEqual(json.load(response), {"messages": [], "summary": []})
        request = Request(
            f"{self.server.address}api/chat/say",
            json.dumps({"person": "Ada", "conversation": other, "text": "hello"}).encode(),
            {"Content-Type": "application/json"},
        )
        with self.assertRaisesRegex(Exception, "404"):
            urlopen(request)


class Summarise(PageTest):
    def run_it(self, page) -> list[int]:
        page.locator("#summarise-form button.primary").click()
        page.locator("#summarise-result .figures").wait_for()
        self.idle(page, "summarise")
        return self.ids(page, "#summarise .sentences li", "position")

    def test_text(self) -> None:
        for size in SIZES:
            with self.subTest(size):
                page = self.open("summarise", size)
                page.locator("#summarise-text option").nth(1).wait_for(state="attached")
                self.fits(page, "empty")
                document, sentences = self.sql(
                    "SELECT d.id, count(*) FROM summary.documents d JOIN summary.sentences s ON s.document = d.id "
                    "GROUP BY 1 HAVING count(*) > 20 ORDER BY d.title <> 'Charles Babbage', 2, 1 LIMIT 1"
                )[0]
                page.select_option("#summarise-text", str(document))
                shown = self.run_it(page)
                self.assertEqual(
                    shown,
                    [
                        row[0]
                        for row in self.sql("SELECT position FROM summary.of_document(%s, 5, 0.6)", document)
                    ],
                )
                coverage, redundancy = self.sql(
                    "SELECT * FROM summary.quality(%s, %s::int[])", document, shown
                )[0]
                self.assertEqual(self.figure(page, "summarise", "coverage"), f"{coverage:.2f}")
                self.assertEqual(self.figure(page, "summarise", "redundancy"), f"{redundancy:.2f}")
                self.assertEqual(page.locator("#summarise .text mark").count(), 5)
                self.assertIn(f"{sentences} sentences", page.locator("#summarise-result").inner_text())
                self.fits(page, "summarised")
                self.shot(page, f"summarise-{size}")
                page.fill("#summarise-question", "history")
                page.press("#summarise-question", "Enter")
                page.wait_for_timeout(200)
                self.idle(page, "summarise")
                wanted = self.sql(
                    "SELECT position FROM summary.for_question(%s, 5, %s, 0.7) ORDER BY position",
                    self.vector("history"),
                    document,
                )
                self.assertEqual(
                    self.ids(page, "#summarise .sentences li", "position"), [row[0] for row in wanted]
                )

    def test_pasted(self) -> None:
        """A pasted text is summarised and not kept."""
        before = self.sql("SELECT count(*) FROM summary.sentences")
        page = self.open("summarise")
        text = (
            "Rain fell all night. The river rose by two metres. Water came into the cellars. Nobody was hurt. "
            "In the morning the sun came out. The mayor thanked the fire brigade. Pumps ran for three days."
        )
        page.fill("#summarise-pasted", text)
        page.locator("#summarise-most").fill("3")
        shown = self.run_it(page)
        self.assertEqual(len(shown), 3)
        for place in shown:
            self.assertIn(
                re.split(r"(?<=\.) ", text)[place - 1], page.locator("#summarise .sentences").inner_text()
            )
        self.assertEqual(self.sql("SELECT count(*) FROM summary.sentences"), before)


class Cache(PageTest):
    def ask(self, page, question: str) -> str:
        before = self.sql("SELECT sum(lookups) FROM cache.statistics")[0][0]
        page.fill("#cache-question", question)
        page.press("#cache-question", "Enter")
        page.locator("#cache-result .badge").wait_for()
        page.wait_for_timeout(100)
        self.idle(page, "cache")
        self.assertEqual(self.sql("SELECT sum(lookups) FROM cache.statistics")[0][0], before + 1)
        return page.locator("#cache-result .answer").get_attribute("data-outcome")

    def counters(self, page) -> None:
        for outcome, lookups in self.sql("SELECT outcome, lookups FROM cache.statistics"):
            self.assertEqual(self.figure(page, "cache-state", outcome), f"{lookups:,}")
        entries = self.sql("SELECT count(*) FROM cache.entries WHERE expires_at > now()")[0][0]
        self.assertEqual(self.figure(page, "cache-state", "entries"), f"{entries:,}")

    def test_hits_and_misses(self) -> None:
        entries = self.sql(
            "SELECT id, question, answer FROM cache.entries WHERE question LIKE 'What does%%' ORDER BY id"
        )
        # The threshold that the page begins with depends on its index's random seed. This one is just large
        # enough for one question.
        ((begun,),) = self.sql("SELECT threshold FROM cache.settings")
        self.addCleanup(self.db.execute, "UPDATE cache.settings SET threshold = %s", (begun,))
        distances = [(self.nearest(self.other(each[1]))[1], each) for each in entries]
        distance, near = min((pair for pair in distances if pair[0] > 0), key=lambda pair: pair[0])
        threshold = distance * 1.01
        self.db.execute("UPDATE cache.settings SET threshold = %s", (threshold,))
        for size in SIZES:
            with self.subTest(size):
                page = self.open("cache", size)
                page.locator("#cache-state .figures").wait_for()
                self.fits(page, "empty")
                self.counters(page)
                self.assertEqual(self.ask(page, f"  {entries[0][1].upper()} "), "exact")
                self.assertEqual(self.ids(page, "#cache-result .answer", "id"), [entries[0][0]])
                self.assertIn(
                    entries[0][2].split("\n")[0][:40], page.locator("#cache-result .sentences").inner_text()
                )
                self.counters(page)
                asked = self.other(near[1])
                self.assertEqual(self.ask(page, asked), "near")
                key, distance = self.nearest(asked)
                self.assertEqual(self.ids(page, "#cache-result .answer", "id"), [key])
                self.assertIn(f"distance {distance:.4f}", page.locator("#cache-result .why").inner_text())
                self.assertIn(f"threshold {threshold:.4f}", page.locator("#cache-result .why").inner_text())
                self.counters(page)
                self.fits(page, "hit")
                self.shot(page, f"cache-{size}")
                new = f"Which fruit would an astronaut miss most, asked on the {size}?"
                self.db.execute("DELETE FROM cache.entries WHERE question = %s", (new,))
                self.assertGreater(self.nearest(new)[1], threshold)
                self.assertEqual(self.ask(page, new), "miss")
                (row,) = self.sql("SELECT id, saved_ms > 0 FROM cache.entries WHERE question = %s", new)
                self.assertEqual((self.ids(page, "#cache-result .answer", "id"), row[1]), ([row[0]], True))
                self.assertEqual(self.psql(page, "cache", 2), [str(row[0])])
                self.assertEqual(self.ask(page, new), "exact")
                self.fits(page, "miss")
                page.locator("#cache-result .source").first.click()
                page.locator("#cache-result .empty").wait_for()
                self.assertEqual(
                    self.sql("SELECT count(*) FROM cache.entries WHERE question = %s", new), [(0,)]
                )
                self.counters(page)

    def other(self, question: str) -> str:
        return "Please tell me what " + re.sub(r"^What does (.*) mean\?$", r"\1 means", question)

    def nearest(self, question: str) -> tuple[int, float]:
        vector = self.vector(question)
        return self.sql("SELECT id, embedding <=> %s FROM cache.find_near(%s, 2)", vector, vector)[0]

    def test_threshold(self) -> None:
        page = self.open("cache")
        page.locator("#cache-state .figures").wait_for()
        for rate in (0.05, 0.01):
            rows = self.sql("SELECT threshold FROM cache.choose_threshold(%s)", rate)
            option = page.locator(f"#cache-rate option[value='{rate}']")
            self.assertEqual(option.is_disabled(), not rows)
            if rows:
                page.select_option("#cache-rate", str(rate))
                self.idle(page, "cache")
                self.assertEqual(self.sql("SELECT threshold FROM cache.settings"), rows)
                self.assertIn(f"{rows[0][0]:.4f}", page.locator("#cache-threshold").inner_text())


class Index(PageTest):
    def test_facts(self) -> None:
        page = self.open("index")
        page.locator("#index-facts .figures").wait_for()
        ((rows, lists),) = self.sql(
            "SELECT count(*), ivf_index_info('qa.passages_by_meaning') ->> 'lists' FROM qa.passages"
        )
        self.assertEqual(self.figure(page, "index", "rows"), f"{rows:,}")
        self.assertEqual(self.figure(page, "index", "lists"), f"{int(lists):,}")
        index, table = self.sql(
            "SELECT pg_relation_size('qa.passages_by_meaning'), pg_table_size('qa.passages')"
        )[0]
        self.assertEqual(self.figure(page, "index", "index_size"), size(index))
        self.assertEqual(self.figure(page, "index", "table_size"), size(table))

    def test_curve(self) -> None:
        for size_ in SIZES:
            with self.subTest(size_):
                page = self.open("index", size_)
                page.locator("#index-facts .figures").wait_for()
                self.fits(page, "facts")
                page.click("#curve-run")
                page.locator("text=Measure again").wait_for()
                self.assertEqual(page.locator("#curve circle").count(), 7)
                slider = page.locator("#curve-slider")
                for place, target in ((0, "0.8"), (6, "1")):
                    slider.fill(str(place))
                    self.assertIn(
                        f"SET ivf.recall_target = {target};", page.locator("#curve .sql").inner_text()
                    )
                    self.assertEqual(self.figure(page, "curve", "recall"), f"{self.recall(target):.3f}")
                slider.fill("3")
                self.fits(page, "measured")
                self.shot(page, f"index-{size_}")

    def recall(self, target: str) -> float:
        near = "SELECT embedding <=> %s AS d FROM qa.passages ORDER BY d LIMIT 10"
        found, wanted = 0, 0
        with self.db.transaction():
            for (vector,) in self.sql("SELECT embedding FROM page.questions"):
                self.sql(
                    "SELECT set_config('ivf.recall_target', %s, true), set_config('enable_seqscan', 'off', true), "
                    "set_config('enable_indexscan', 'on', true)",
                    target,
                )
                near_rows = [row[0] for row in self.sql(near, vector)]
                self.sql(
                    "SELECT set_config('enable_indexscan', 'off', true), set_config('enable_seqscan', 'on', true)"
                )
                exact = [row[0] for row in self.sql(near, vector)]
                found += sum(distance <= exact[-1] + 1e-6 for distance in near_rows)
                wanted += len(exact)
        return found / wanted

    def test_insert_is_found_at_once(self) -> None:
        for size_ in SIZES:
            with self.subTest(size_):
                page = self.open("index", size_)
                page.locator("#index-facts .figures").wait_for()
                before = self.sql("SELECT count(*) FROM qa.passages")[0][0]
                page.fill("#insert-name", f"glowphone {size_}")
                page.locator("#insert-form button").click()
                page.locator("#insert-result .own").wait_for()
                self.idle(page, "index")
                self.assertEqual(self.figure(page, "insert-result", "place"), "No. 1")
                (own,) = self.ids(page, "#insert-result .own", "passage")
                self.assertEqual(
                    self.sql(
                        "SELECT d.title FROM qa.passages p JOIN qa.documents d ON d.id = document "
                        "WHERE p.id = %s",
                        own,
                    ),
                    [(f"glowphone {size_}",)],
                )
                self.assertEqual(self.figure(page, "index-facts", "rows"), f"{before + 1:,}")
                self.fits(page, "inserted")
                self.shot(page, f"insert-{size_}")
                page.get_by_label(f"Remove glowphone {size_}").click()
                page.get_by_label(f"Remove glowphone {size_}").wait_for(state="detached")
                self.assertEqual(self.sql("SELECT count(*) FROM qa.passages")[0][0], before)


def size(value: int) -> str:
    for unit, least in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= least:
            return f"{value / least:.1f} {unit}"
    return f"{value} bytes"


class Early(PageTest):
    """What is done while a view still loads is done after it, and not lost."""

    def held(self, view: str, path: str):
        """The view, and the requests that it begins with: none is answered."""
        page = self.open(view)
        requests: list = []
        page.route(re.compile(path), lambda route: requests.append(route))
        page.reload()
        page.locator(f"#{view} .status.busy").wait_for()
        return page, requests

    def go_on(self, page, requests: list, path: str) -> None:
        page.wait_for_timeout(300)
        for request in requests:
            request.continue_()
        requests.clear()
        page.unroute(re.compile(path))

    def test_cache(self) -> None:
        ((question,),) = self.sql("SELECT min(question) FROM cache.entries WHERE expires_at > now()")
        page, requests = self.held("cache", "/api/cache$")
        page.fill("#cache-question", question)
        page.press("#cache-question", "Enter")
        self.go_on(page, requests, "/api/cache$")
        page.locator("#cache-result .answer[data-outcome=exact]").wait_for()
        self.idle(page, "cache")
        self.assertEqual(page.locator("#cache-result .empty").count(), 0)

    def test_summarise(self) -> None:
        page, requests = self.held("summarise", "/api/summarise$")
        page.fill("#summarise-pasted", "The owl hunts at night. It sees well. Its prey is small.")
        page.locator("#summarise-form button").click()
        self.go_on(page, requests, "/api/summarise$")
        page.locator("#summarise-result .figures").first.wait_for()
        self.assertEqual(page.locator("#summarise-result .empty").count(), 0)

    def test_chat(self) -> None:
        page, requests = self.held("chat", "/api/chat[?]")
        second = page.locator("#chat-person option").nth(1).get_attribute("value")
        page.select_option("#chat-person", second)
        self.go_on(page, requests, "/api/chat[?]")
        self.idle(page, "chat")
        kept = self.sql("SELECT DISTINCT conversation::text FROM memory.messages WHERE owner = %s", second)
        options = page.locator("#chat-conversation option").evaluate_all("all => all.map(each => each.value)")
        self.assertEqual(set(options), {""} | {conversation for (conversation,) in kept})
        self.assertIn(second, page.locator("#chat-messages .empty").inner_text())


class Keys(PageTest):
    def test_keys(self) -> None:
        page = self.open("ask")
        page.locator("h1").click()
        for number, view in enumerate(VIEWS, 1):
            page.keyboard.press(str(number))
            self.assertTrue(page.locator(f"#{view}").is_visible())
            self.assertEqual(page.locator("[role=tabpanel]:not([hidden])").count(), 1)
            self.assertEqual(page.locator(f"#tab-{view}").get_attribute("aria-selected"), "true")
            self.assertEqual(page.evaluate("document.activeElement.id"), f"tab-{view}")
            page.keyboard.press("/")
            self.assertTrue(page.evaluate("document.activeElement.matches('[data-first]')"), view)
            page.keyboard.press("Escape")
            page.evaluate("document.activeElement.blur()")
        page.locator("#tab-index").focus()
        page.keyboard.press("ArrowRight")
        self.assertEqual(page.evaluate("document.activeElement.id"), "tab-ask")
        page.keyboard.press("ArrowLeft")
        self.assertEqual(page.evaluate("document.activeElement.id"), "tab-index")
        # A digit that is typed into a field is text.
        page.keyboard.press("1")
        page.keyboard.press("/")
        page.keyboard.type("12")
        self.assertEqual(page.locator("#ask-question").input_value(), "12")

    def test_focus_is_seen(self) -> None:
        page = self.open("ask")
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        style = page.evaluate(
            "(({outlineStyle, outlineWidth}) => [outlineStyle, outlineWidth])"
            "(getComputedStyle(document.activeElement))"
        )
        self.assertEqual(style, ["solid", "2px"])

    def test_everything_has_a_name(self) -> None:
        page = self.open("ask")
        for number in range(1, 6):
            page.keyboard.press(str(number))
            page.wait_for_timeout(300)
        nameless = page.evaluate("""[...document.querySelectorAll('input, select, textarea, button')]
            .filter(each => !(each.labels?.length || each.getAttribute('aria-label') || each.textContent.trim()))
            .map(each => each.id)""")
        self.assertEqual(nameless, [])

    def test_dark(self) -> None:
        for size_ in SIZES:
            page = self.open("ask", size_, dark=True)
            page.fill("#ask-question", ELEPHANT)
            page.press("#ask-question", "Enter")
            page.locator("#ask .sources").wait_for()
            dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
            self.assertLess(sum(map(int, dark[4:-1].split(","))), 150)
            self.fits(page, "dark")
            self.shot(page, f"ask-{size_}-dark")


if __name__ == "__main__":
    unittest.main()
