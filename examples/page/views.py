"""What the browser may ask for: each method takes checked fields and returns what is shown."""

import sys
import time
from typing import Iterator

from page import ask, cache, chat, chats, index, language, summarise, texts
from page.cache import Miss
from page.database import Session, session
from page.embedding import Embedder
from page.fields import Fields, Refused
from psycopg_pool import ConnectionPool

ABOUT = "SELECT name, made_at FROM page.about"
CATEGORIES = """
SELECT category, count(*) AS passages, min(published) AS first, max(published) AS last
FROM qa.passages GROUP BY category ORDER BY category
"""
EXAMPLES = "SELECT question FROM cache.entries WHERE expires_at > now() ORDER BY length(question), id LIMIT 4"
BUILTIN = [
    "a huge animal with tusks and a trunk",
    "Who designed the first programmable computer?",
    "How do I choose the recall target?",
    "joy at the misfortune of others",
]
OPENERS = ["I am really tired today", "What do you study?", "I love my dog", "Do you like to cook?"]
# A text that the built-in ones do not have.
INSERT = {
    "name": "smartphone",
    "category": "artifact",
    "text": "a telephone with a touch screen that runs applications and browses the web",
    "question": "a pocket device for calling people and going online",
}


class Views:
    def __init__(self, pool: ConnectionPool, embedder: Embedder, model: language.Model | None) -> None:
        self.pool, self.embedder, self.model = pool, embedder, model
        self.people = chats.PEOPLE

    def about(self, _: Fields) -> dict:
        with session(self.pool) as s:
            about = s.run("", ABOUT).rows[0]
            categories = s.run("", CATEGORIES).rows
            builtin = about["name"] == texts.BUILTIN
            examples = BUILTIN if builtin else [row["question"] for row in s.run("", EXAMPLES).rows]
        dated = [each for each in categories if each["first"]]
        return {
            "name": about["name"],
            "passages": sum(each["passages"] for each in categories),
            "categories": [each for each in categories if each["category"]],
            "examples": examples,
            "first": min((each["first"] for each in dated), default=None),
            "last": max((each["last"] for each in dated), default=None),
            "people": self.people,
            "openers": OPENERS,
            "model": self.model and self.model.name,
            "insert": INSERT if builtin else INSERT | {"category": ""},
        }

    # Ask

    def _question(self, fields: Fields) -> tuple[ask.Question, float]:
        text = fields.text("question", "The question")
        vector, embed_ms = self.embedder.one(text)
        return ask.Question(
            text,
            vector,
            fields.optional_text("category"),
            fields.optional_date("since"),
            fields.number("meaning", 0, 1, 0.7),
        ), embed_ms

    def ask(self, fields: Fields) -> dict:
        asked, embed_ms = self._question(fields)
        with session(self.pool) as s:
            return ask.ask(s, asked, embed_ms)

    def ask_generate(self, fields: Fields) -> Iterator[dict]:
        """An answer of the language model from the sources that the question has on the page."""
        model = self._model()
        asked, _ = self._question(fields)
        with session(self.pool) as s:
            sources, _, _ = ask.found(s, asked)
        for piece in model.answer(language.RULES, language.prompt(asked.text, sources)):
            yield {"text": piece}

    def _model(self) -> language.Model:
        if self.model is None:
            raise Refused("No language model is set. Set OPENAI_BASE_URL and OPENAI_API_KEY.", 404)
        return self.model

    # Chat

    def _as_person(self, s: Session, fields: Fields) -> str:
        person = fields.text("person", "The person", 50)
        chat.as_person(s, person, self.people)
        return person

    def chat(self, fields: Fields) -> dict:
        with session(self.pool) as s:
            self._as_person(s, fields)
            return chat.conversations(s)

    def chat_messages(self, fields: Fields) -> dict:
        with session(self.pool) as s:
            self._as_person(s, fields)
            return chat.messages(s, fields.integer("conversation", 1, 2**53, 1))

    def chat_say(self, fields: Fields) -> dict:
        text = fields.text("text", "The message")
        half_life = fields.integer("half_life", 1, 36_500, 30)
        vector, embed_ms = self.embedder.one(text)
        with session(self.pool) as s:
            person = self._as_person(s, fields)
            result = chat.say(
                s, chat.Said(person, fields.optional_id("conversation"), text, vector, half_life)
            )
        result["timings"]["embed_ms"] = embed_ms
        return result

    def chat_generate(self, fields: Fields) -> Iterator[dict]:
        """The language model's answer to a message that is in the conversation; it becomes a message too."""
        model = self._model()
        text = fields.text("text", "The message")
        conversation = fields.integer("conversation", 1, 2**53, 1)
        vector, _ = self.embedder.one(text)
        with session(self.pool) as s:
            self._as_person(s, fields)
            context = chat.context(s, conversation, vector)
        said = ""
        for piece in model.answer(language.CHAT_RULES, context):
            said += piece
            yield {"text": piece}
        if said.strip():
            vector, _ = self.embedder.one(said)
            with session(self.pool) as s:
                self._as_person(s, fields)
                yield {
                    "message": chat.answered(
                        s, conversation, model.name, said.strip().replace("\0", ""), vector
                    )
                }

    # Summarise

    def summarise_texts(self, _: Fields) -> dict:
        with session(self.pool) as s:
            return summarise.texts(s)

    def summarise(self, fields: Fields) -> dict:
        document = fields.optional_id("document")
        text = "" if document else fields.text("text", "The text", summarise.LONGEST_TEXT)
        question = fields.text("question", "The question", needed=False)
        most, relevance = fields.integer("most", 1, 12, 5), fields.number("relevance", 0, 1, 0.6)
        asked, embed_ms = self.embedder.one(question) if question else (None, 0.0)
        if document:
            with session(self.pool) as s:
                result = summarise.summarise(s, document, asked, most, relevance)
        else:
            # The model works between two transactions, not within one.
            with session(self.pool) as s:
                rows = summarise.split(s, text)
            vectors, took = self.embedder.all([row["sentence"] for row in rows])
            embed_ms += took
            with session(self.pool, keep=False) as s:
                result = summarise.summarise(s, summarise.paste(s, rows, vectors), asked, most, relevance)
        result["timings"]["embed_ms"] = embed_ms
        return result

    # Cache

    def cache(self, _: Fields) -> dict:
        with session(self.pool) as s:
            return cache.state(s)

    def cache_ask(self, fields: Fields) -> dict:
        question = fields.text("question", "The question")
        with session(self.pool) as s:
            result = cache.look_up(s, self.embedder, question)
        if not isinstance(result, Miss):
            return result
        started = time.perf_counter()
        answer, by = self._answer(result)
        took = result.search_ms + (time.perf_counter() - started) * 1000
        with session(self.pool) as s:
            return cache.keep(s, result, answer, took) | {"by": by}

    def _answer(self, miss: Miss) -> tuple[str, str | None]:
        """Generated if there is a language model that answers, otherwise extractive; and who wrote it."""
        if self.model is not None:
            try:
                pieces = self.model.answer(language.RULES, language.prompt(miss.question, miss.sources))
                if text := "".join(pieces).replace("\0", "").strip():
                    return text, self.model.name
            except language.Silent as error:
                print(error, file=sys.stderr, flush=True)
        return ask.answer_text(miss.sources, miss.sentences), None

    def cache_threshold(self, fields: Fields) -> dict:
        with session(self.pool) as s:
            return cache.choose(s, fields.number("rate", 0.0001, 0.5, 0.01))

    def cache_invalidate(self, fields: Fields) -> dict:
        with session(self.pool) as s:
            return cache.invalidate(s, fields.text("source", "The source", 1_000))

    # Index

    def index(self, _: Fields) -> dict:
        with session(self.pool) as s:
            return index.facts(s)

    def index_insert(self, fields: Fields) -> dict:
        return index.insert(
            self.pool,
            self.embedder,
            fields.text("title", "The title", 200),
            fields.text("category", "The category", 100, needed=False),
            fields.text("text", "The text"),
            fields.text("question", "The question", needed=False),
        )

    def index_remove(self, fields: Fields) -> dict:
        with session(self.pool) as s:
            return index.remove(s, fields.integer("document", 1, 2**53, 1))

    def index_curve(self, _: Fields) -> Iterator[dict]:
        return index.curve(self.pool)
