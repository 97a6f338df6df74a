"""Ask: a question, an answer made of sentences with their sources, and how it was found."""

import time
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from page.database import Session, Statement

SOURCES, SENTENCES, NEAREST = 6, 3, 10
RUNS = 5  # of each timed statement; the median counts
FAR = 0.75  # cosine distance beyond which nothing is said to answer a question

SEARCH = """
SELECT s.passage, s.document, s.score, p.embedding <=> $2 AS distance,
    d.title, p.section, d.source, p.category, p.published, p.body
FROM qa.search($1, $2, $3, only_category => $4, since => $5, meaning => $6) s
    JOIN qa.passages p ON p.id = s.passage
    JOIN qa.documents d ON d.id = s.document
ORDER BY s.score DESC, s.passage
"""

PICK = """
SELECT t.passage, t.position, t.body, t.embedding <=> $1 AS distance
FROM qa.sentences t
WHERE t.passage = ANY ($2::bigint[]) AND t.embedding IS NOT NULL
ORDER BY t.embedding <=> $1, t.passage, t.position LIMIT $3
"""

# The conditions as qa.search has them.
NEAR = """
SELECT p.id, p.embedding <=> $1 AS distance
FROM qa.passages p
WHERE ($2::text IS NULL OR p.category = $2) AND ($3::date IS NULL OR p.published >= $3)
ORDER BY p.embedding <=> $1 LIMIT $4
"""


@dataclass
class Question:
    text: str
    vector: np.ndarray
    category: str | None = None
    since: date | None = None
    meaning: float = 0.7


def found(
    session: Session, asked: Question, plan: bool = False
) -> tuple[list[dict], list[dict], list[Statement]]:
    """The passages, numbered, and the sentences of them that answer best."""
    search = session.run(
        "Search: hybrid, best passages",
        SEARCH,
        [asked.text, asked.vector, SOURCES, asked.category, asked.since, asked.meaning],
        plan,
    )
    sources = [{"number": place + 1, **row} for place, row in enumerate(search.rows)]
    numbers = {row["passage"]: row["number"] for row in sources}
    pick = session.run(
        "Answer: their nearest sentences", PICK, [asked.vector, list(numbers), SENTENCES], plan
    )
    sentences = [{"number": numbers[row["passage"]], **row} for row in pick.rows]
    return sources, sentences, [search, pick]


def answer_text(sources: list[dict], sentences: list[dict]) -> str:
    """The answer as plain text: a sentence that is all of its passage says of what it speaks."""
    whole = {each["number"]: each for each in sources}
    parts = []
    for each in sentences:
        source = whole[each["number"]]
        alone = each["body"] == source["body"]
        parts.append((f"{source['title']}: " if alone else "") + f"{each['body']} [{each['number']}]")
    return "\n".join(parts)


def measured(session: Session, asked: Question) -> tuple[dict, Statement]:
    """The nearest passages by the index and by a scan of all rows, now, and what the index found of them."""
    values: list[Any] = [asked.vector, asked.category, asked.since, NEAREST]
    near = session.run("Nearest passages, as measured", NEAR, values, plan=True)
    rows, index_ms = session.median_ms(NEAR, values, RUNS)
    session.set("enable_indexscan", "off")
    exact, exact_ms = session.median_ms(NEAR, values, RUNS)
    session.set("enable_indexscan", "on")
    return {"index_ms": index_ms, "exact_ms": exact_ms, "found": right(rows, exact), "of": len(exact)}, near


def right(rows: list[dict], exact: list[dict]) -> int:
    """How many of the rows belong to the nearest. By distance: of two rows at the same distance either is right."""
    farthest = max((each["distance"] for each in exact), default=0.0)
    return sum(each["distance"] <= farthest + 1e-6 for each in rows)


def ask(session: Session, asked: Question, embed_ms: float) -> dict:
    started = time.perf_counter()
    sources, sentences, statements = found(session, asked)
    search_ms = (time.perf_counter() - started) * 1000
    for each in statements:
        each.plan = session.explain(each.sql, each.parameters)
    numbers, near = measured(session, asked)
    nearest = min((each["distance"] for each in sources), default=None)
    return {
        "answer": sentences,
        "sources": sources,
        "nearest": nearest,
        "far": nearest is not None and nearest > FAR,
        "timings": {"embed_ms": embed_ms, "search_ms": search_ms, **numbers},
        "statements": [each.shown() for each in [*statements, near]],
    }
