"""Summarise: the sentences that cover a text without repeating each other."""

import numpy as np
from page.database import Session
from page.fields import Refused

LONGEST_TEXT = 100_000  # characters of a text that is pasted
MOST_SENTENCES = 600
# Fragments such as "Knott, ed." stand for nothing: without an embedding, a sentence is shown and never
# chosen.
WHOLE = "array_length(regexp_split_to_array(btrim({}), '\\s+'), 1) >= 5"

TEXTS = """
SELECT d.id, d.title, count(*) AS sentences FROM summary.documents d JOIN summary.sentences s ON s.document = d.id
GROUP BY d.id ORDER BY d.title, d.id
"""
SENTENCES = "SELECT s.position, s.body FROM summary.sentences s WHERE s.document = $1 ORDER BY s.position"
SPLIT = f"SELECT position, sentence, {WHOLE.format('sentence')} AS whole FROM qa.split_sentences($1)"
NEW = "INSERT INTO summary.documents (title) VALUES ($1) RETURNING id"
ADD = "INSERT INTO summary.sentences (document, position, body, embedding) VALUES ($1, $2, $3, $4)"
OF_DOCUMENT = "SELECT position, body FROM summary.of_document($1, $2, $3)"
FOR_QUESTION = "SELECT position, body FROM summary.for_question($1, $2, $3, $4) ORDER BY position"
QUALITY = "SELECT coverage, redundancy FROM summary.quality($1, $2::integer[])"


def texts(s: Session) -> dict:
    return {"texts": s.run("", TEXTS).rows}


def split(s: Session, text: str) -> list[dict]:
    """The sentences of a text that is pasted, and which of them are whole."""
    rows = s.run("", SPLIT, [text]).rows
    if len(rows) > MOST_SENTENCES:
        raise Refused(
            f"{len(rows):,} sentences are too many, because each is compared with each; the limit is {MOST_SENTENCES}."
        )
    if not rows:
        raise Refused("The text has no sentence.")
    return rows


def paste(s: Session, rows: list[dict], vectors: np.ndarray) -> int:
    """Writes the sentences of a text. The caller's transaction is rolled back: nothing of it remains."""
    few = sum(row["whole"] for row in rows) < 3
    document = s.run("", NEW, ["pasted"]).rows[0]["id"]
    with s.connection.cursor() as cursor:
        cursor.executemany(
            ADD,
            [
                (document, row["position"], row["sentence"], vector if row["whole"] or few else None)
                for row, vector in zip(rows, vectors)
            ],
        )
    return document


def summarise(s: Session, document: int, question: np.ndarray | None, most: int, relevance: float) -> dict:
    sentences = s.run("", SENTENCES, [document]).rows
    if not sentences:
        raise Refused("There is no such text.", 404)
    if question is None:
        done = s.run("Summary of the whole text", OF_DOCUMENT, [document, most, relevance], plan=True)
    else:
        done = s.run(
            "Summary for the question", FOR_QUESTION, [question, most, document, relevance], plan=True
        )
    chosen = [row["position"] for row in done.rows]
    first = [row["position"] for row in sentences[: len(chosen)]]
    quality = s.run("How well it stands for the text", QUALITY, [document, chosen])
    return {
        "summary": done.rows,
        "sentences": sentences,
        "quality": quality.rows[0],
        "first": s.run("", QUALITY, [document, first]).rows[0],
        "timings": {"select_ms": done.milliseconds},
        "statements": [done.shown(), quality.shown()],
    }
