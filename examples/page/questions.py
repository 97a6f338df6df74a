"""Questions about the texts: those that the cache begins with, labelled ones for its threshold, and those
that recall and speed are measured with."""

import re
import time
from typing import Callable

import psycopg
from kept import Kept
from page import ask
from page.database import Cursor, Session
from psycopg.rows import dict_row

CACHED, LOOKUPS, MEASURED = 400, 1_200, 100
CACHED_PHRASE = "What does {} mean?"
PHRASES = [
    "define {}",
    "What is the meaning of {}?",
    "Can you explain the word {} to me?",
    "Please tell me what {} means",
]
FALSE_HITS = 0.01


def evenly(rows: list, most: int) -> list:
    return [rows[i * len(rows) // most] for i in range(most)] if len(rows) > most else rows


def keywords(sentence: str) -> str:
    """A question made from a sentence: every second long word, without the order."""
    return " ".join(sorted(re.findall(r"\w{4,}", sentence)[::2]))


def load(db: psycopg.Connection, kept: Kept, progress: Callable[[int, int], None], share: int) -> None:
    measured(db, kept, progress)
    titles = [
        title
        for (title,) in db.execute(
            "SELECT DISTINCT ON (lower(title)) title FROM qa.documents WHERE length(title) BETWEEN 3 AND 40 "
            "ORDER BY lower(title)"
        ).fetchall()
    ]
    # Fewer labelled lookups would prove no threshold.
    subjects = evenly(titles, max(2 * CACHED // share, 300))
    cached, others = subjects[::2], subjects[1::2]
    fill_cache(db, kept, cached)
    label(db, kept, cached, others, progress)


def measured(db: psycopg.Connection, kept: Kept, progress: Callable[[int, int], None]) -> None:
    rows = db.execute(
        "SELECT s.body FROM qa.sentences s JOIN qa.passages p ON p.id = s.passage ORDER BY p.id, s.position"
    ).fetchall()
    asked = [
        text
        for text in dict.fromkeys(keywords(body) for (body,) in evenly(rows, 20 * MEASURED))
        if len(text.split()) >= 3
    ]
    asked = evenly(asked, MEASURED) or [body[:200] for (body,) in rows[:MEASURED]]
    vectors = kept.embed_all(asked, progress)
    with db.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO page.questions VALUES (%s, %s, %s)", list(zip(range(len(asked)), asked, vectors))
        )


def fill_cache(db: psycopg.Connection, kept: Kept, subjects: list[str]) -> None:
    """Answers are computed and timed as the page does it."""
    from page.embedding import Embedder

    embedder = Embedder()
    with psycopg.connect(
        dbname=db.info.dbname, autocommit=True, cursor_factory=Cursor, row_factory=dict_row
    ) as own:
        from client import register_vector

        register_vector(own)
        session = Session(own)
        for subject in subjects:
            question = CACHED_PHRASE.format(subject)
            vector, _ = embedder.one(question)
            started = time.perf_counter()  # without the embedding, which a hit in other words needs too
            sources, sentences, _ = ask.found(session, ask.Question(question, vector))
            took = (time.perf_counter() - started) * 1000
            session.run(
                "",
                "SELECT cache.put($1, $2, $3, $4::text[], $5, '', '365 days')",
                [
                    question,
                    vector,
                    ask.answer_text(sources, sentences),
                    [each["source"] for each in sources],
                    took,
                ],
            )


def label(
    db: psycopg.Connection,
    kept: Kept,
    cached: list[str],
    others: list[str],
    progress: Callable[[int, int], None],
) -> None:
    """Lookups in other phrases, half of them for subjects that are not in the cache. An answer is right if it is that
    of the same subject."""
    asked = [subject for pair in zip(cached, others) for subject in pair] or cached
    asked = [
        (subject, phrase.format(subject))
        for i, subject in enumerate(asked)
        for phrase in (PHRASES[i // 2 % 4], PHRASES[(i // 2 + 1) % 4])
    ][:LOOKUPS]
    vectors = kept.embed_all([text for _, text in asked], progress)
    labelled = []
    for (subject, _), vector in zip(asked, vectors):
        row = db.execute(
            "SELECT question, embedding <=> %s FROM cache.find_near(%s, 2)", (vector, vector)
        ).fetchone()
        if row:
            labelled.append((row[1], row[0] == CACHED_PHRASE.format(subject)))
    with db.cursor() as cursor:
        cursor.executemany("INSERT INTO cache.labelled (distance, same) VALUES (%s, %s)", labelled)
    chosen = db.execute("SELECT threshold FROM cache.choose_threshold(%s)", (FALSE_HITS,)).fetchone()
    # Too few texts prove no threshold: then only questions that are almost the same are the same.
    db.execute("UPDATE cache.settings SET threshold = %s", (chosen[0] if chosen else 0.02,))
