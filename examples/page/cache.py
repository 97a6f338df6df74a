"""Cache: a question that was asked before in other words gets its stored answer."""

import time
from dataclasses import dataclass

import numpy as np
from page import ask
from page.database import Session
from page.embedding import Embedder
from page.fields import Refused

RATES = [0.005, 0.01, 0.02, 0.05]

EXACT = """
SELECT e.id, e.question, e.answer, e.sources, e.saved_ms, e.created_at FROM cache.find_exact($1) e
"""
# The nearest entry at any distance, so that a miss can say how near it was.
NEAR = """
SELECT e.id, e.question, e.answer, e.sources, e.saved_ms, e.created_at, e.embedding <=> $1 AS distance,
    s.threshold, e.embedding <=> $1 <= s.threshold AS hit
FROM cache.settings s, cache.find_near($1, 2) e
"""
COUNT = "SELECT cache.count($1, $2)"
PUT = "SELECT cache.put($1, $2, $3, $4::text[], $5) AS id"
STATISTICS = """
SELECT outcome, lookups, saved_ms FROM cache.statistics ORDER BY array_position(ARRAY['exact', 'near', 'miss'], outcome)
"""
SETTINGS = """
SELECT s.threshold, (SELECT count(*) FROM cache.entries e WHERE e.expires_at > now()) AS entries,
    (SELECT count(*) FROM cache.labelled) AS labelled
FROM cache.settings s
"""
RECENT = """
SELECT id, question, saved_ms, created_at FROM cache.entries WHERE expires_at > now()
ORDER BY created_at DESC, id DESC LIMIT 8
"""
CHOOSE = "SELECT threshold, hits, false_hit_rate FROM cache.choose_threshold($1)"
SET = "UPDATE cache.settings SET threshold = $1 RETURNING threshold"
INVALIDATE = "SELECT cache.invalidate($1) AS gone"


def state(s: Session) -> dict:
    rates = [{"rate": rate, **(s.run("", CHOOSE, [rate]).rows or [{"threshold": None}])[0]} for rate in RATES]
    return {
        **s.run("", SETTINGS).rows[0],
        "statistics": s.run("", STATISTICS).rows,
        "rates": rates,
        "recent": s.run("", RECENT).rows,
    }


@dataclass
class Miss:
    """A question that has no answer yet, and the passages to make one of."""

    question: str
    vector: np.ndarray
    sources: list[dict]
    sentences: list[dict]
    search_ms: float
    shown: dict


def look_up(s: Session, embedder: Embedder, question: str) -> dict | Miss:
    """The same words, then other words."""
    exact = s.run("1. The same words", EXACT, [question])
    if exact.rows:
        return hit(s, "exact", exact.rows[0] | {"distance": 0.0}, [exact], {"exact_ms": exact.milliseconds})
    vector, embed_ms = embedder.one(question)
    near = s.run("2. Other words", NEAR, [vector])
    timings = {"exact_ms": exact.milliseconds, "embed_ms": embed_ms, "near_ms": near.milliseconds}
    entry = near.rows[0] if near.rows else None
    if entry and entry["hit"]:
        return hit(s, "near", entry, [exact, near], timings)
    s.run("", COUNT, ["miss", 0.0])
    started = time.perf_counter()
    sources, sentences, _ = ask.found(s, ask.Question(question, vector))
    search_ms = (time.perf_counter() - started) * 1000
    return Miss(
        question,
        vector,
        sources,
        sentences,
        search_ms,
        {
            "outcome": "miss",
            "sources": [each["source"] for each in sources],
            "timings": timings,
            "nearest": entry and {"question": entry["question"], "distance": entry["distance"]},
            "threshold": entry and entry["threshold"],
            "statements": explained(s, [exact, near]),
        },
    )


def keep(s: Session, miss: Miss, answer: str, took: float) -> dict:
    """`took` is without the embedding, which a hit in other words needs too."""
    put = s.run(
        "3. Computed, and stored", PUT, [miss.question, miss.vector, answer, miss.shown["sources"], took]
    )
    return miss.shown | {
        "answer": answer,
        "id": put.rows[0]["id"],
        "timings": miss.shown["timings"] | {"compute_ms": took},
        "statements": miss.shown["statements"] + [put.shown()],
    }


def hit(s: Session, outcome: str, entry: dict, ran: list, timings: dict) -> dict:
    s.run("", COUNT, [outcome, entry["saved_ms"]])
    return {
        "outcome": outcome,
        "timings": timings,
        "statements": explained(s, ran),
        **{
            name: entry.get(name)
            for name in (
                "id",
                "answer",
                "sources",
                "saved_ms",
                "distance",
                "threshold",
                "question",
                "created_at",
            )
        },
    }


def explained(s: Session, ran: list) -> list[dict]:
    for each in ran:
        each.plan = s.explain(each.sql, each.parameters)
    return [each.shown() for each in ran]


def choose(s: Session, rate: float) -> dict:
    rows = s.run("", CHOOSE, [rate]).rows
    if not rows:
        raise Refused("No distance is safe enough for this rate; there are too few labelled lookups.")
    s.run("", SET, [rows[0]["threshold"]])
    return state(s)


def invalidate(s: Session, source: str) -> dict:
    return {"gone": s.run("", INVALIDATE, [source]).rows[0]["gone"]} | state(s)
