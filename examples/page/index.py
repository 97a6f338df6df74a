"""Index: how large it is, a text inserted and found at once, and recall against speed, measured when asked."""

import json
import re
import threading
from typing import Iterator

import numpy as np
from page import ask
from page.database import Session, session
from page.embedding import Embedder
from page.fields import Refused
from psycopg_pool import ConnectionPool

TARGETS = [0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 1.0]
NEAREST = 10
ROUNDS, EXACT_ROUNDS = 5, 2

FACTS = """
SELECT c.rows, i.info ->> 'lists' AS lists, i.info ->> 'bits' AS bits,
    (i.info ->> 'bytes_per_row')::float8 AS bytes_per_row,
    pg_relation_size('qa.passages_by_meaning') AS index_size, pg_table_size('qa.passages') AS table_size,
    current_setting('ivf.recall_target')::float8 AS recall_target
FROM (SELECT count(*) AS rows FROM qa.passages) c,
    (SELECT ivf_index_info('qa.passages_by_meaning') AS info) i
"""
WRITTEN = """
SELECT d.id, d.title, d.category, p.body
FROM qa.documents d JOIN qa.passages p ON p.document = d.id
WHERE d.id > (SELECT last_document FROM page.loaded) ORDER BY d.id DESC, p.position LIMIT 20
"""
INSERT = """
WITH document AS (
    INSERT INTO qa.documents (source, title, category, published)
    VALUES ('page, ' || gen_random_uuid(), $1, $2, current_date) RETURNING id
), passage AS (
    INSERT INTO qa.passages (document, position, body, embedding) SELECT id, 1, $3, $4 FROM document
    RETURNING id, document
), sentence AS (
    INSERT INTO qa.sentences (passage, position, body, embedding) SELECT id, 1, $3, $4 FROM passage
)
SELECT id, document FROM passage
"""
FIND = """
SELECT p.id, d.title, p.body, p.embedding <=> $1 AS distance
FROM qa.passages p JOIN qa.documents d ON d.id = p.document
ORDER BY p.embedding <=> $1 LIMIT 5
"""
REMOVE = """
DELETE FROM qa.documents WHERE id = $1 AND id > (SELECT last_document FROM page.loaded) RETURNING id
"""
QUESTIONS = "SELECT embedding FROM page.questions ORDER BY id"
SEARCH = "SELECT id, embedding <=> $1 AS distance FROM qa.passages ORDER BY embedding <=> $1 LIMIT 10"

measuring = threading.Lock()


def facts(s: Session) -> dict:
    done = s.run("Rows, lists and sizes", FACTS)
    return {
        **done.rows[0],
        "written": s.run("", WRITTEN).rows,
        "targets": TARGETS,
        "questions": s.run("", "SELECT count(*) AS n FROM page.questions").rows[0]["n"],
        "statements": [done.shown()],
    }


def insert(
    pool: ConnectionPool, embedder: Embedder, title: str, category: str, text: str, question: str
) -> dict:
    """Three transactions, as in an app: the text is written, committed, and found by the next query."""
    vector, embed_ms = embedder.one(f"{title}: {text}")
    asked, _ = embedder.one(question or text)
    with session(pool) as s:
        written = s.run("Insert", INSERT, [title, category, text, vector])
    with session(pool) as s:
        found = s.run("Found by the next query", FIND, [asked], plan=True)
    row = written.rows[0]
    place = next((i + 1 for i, each in enumerate(found.rows) if each["id"] == row["id"]), None)
    return {
        "passage": row["id"],
        "document": row["document"],
        "place": place,
        "rows": found.rows,
        "timings": {"embed_ms": embed_ms, "insert_ms": written.milliseconds, "find_ms": found.milliseconds},
        "statements": [written.shown(), found.shown()],
    }


def remove(s: Session, document: int) -> dict:
    if not s.run("", REMOVE, [document]).rows:
        raise Refused(
            "Only texts that were written here can be removed, and this one is gone or was loaded.", 404
        )
    return {"removed": document}


def curve(pool: ConnectionPool) -> Iterator[dict]:
    """Points of recall and speed. Rounds go over all targets, and each question counts with its fastest round, as other
    programs run beside; the exact scans are timed the same way."""
    if not measuring.acquire(blocking=False):
        raise Refused("A measurement is running already.", 409)
    try:
        with session(pool) as s:
            vectors = [vector(row["embedding"]) for row in s.run("", QUESTIONS).rows]
        steps = EXACT_ROUNDS + ROUNDS * len(TARGETS)
        exact = Measured()
        for done in range(EXACT_ROUNDS):
            yield {"done": done, "of": steps, "what": "sequential scans"}
            exact.round(pool, vectors, [("enable_indexscan", "off")])
        yield {
            "exact": {
                "ms": exact.mean(),
                "questions": len(vectors),
                "rounds": ROUNDS,
                "exact_rounds": EXACT_ROUNDS,
                "sql": SEARCH,
            }
        }
        points = {target: Measured() for target in TARGETS}
        for done in range(ROUNDS * len(TARGETS)):
            target = TARGETS[done % len(TARGETS)]
            yield {"done": EXACT_ROUNDS + done, "of": steps, "what": f"recall target {target:g}"}
            # The index, also where a small table would be read faster.
            points[target].round(
                pool, vectors, [("ivf.recall_target", f"{target:g}"), ("enable_seqscan", "off")]
            )
            yield {"point": points[target].point(target, exact)}
        yield {"done": steps, "of": steps, "what": "done"}
    finally:
        measuring.release()


def vector(value: object) -> np.ndarray:
    """A vector as the server writes it, `[1,2,3]`."""
    return np.array(json.loads(str(value)), dtype=np.float32)


class Measured:
    """Searches for the questions: what they found, and the fastest time of each."""

    def __init__(self) -> None:
        self.rows: list[list[dict]] = []
        self.fastest: list[float] = []
        self.read = ""

    def round(self, pool: ConnectionPool, vectors: list[np.ndarray], settings: list[tuple[str, str]]) -> None:
        with session(pool) as s:
            for name, value in settings:
                s.set(name, value)
            runs = [s.run("", SEARCH, [each]) for each in vectors]
            plan = s.explain(SEARCH, [vectors[0]]) if not self.rows else []
        times = [each.milliseconds for each in runs]
        self.fastest = list(map(min, self.fastest, times)) if self.rows else times
        self.rows = [each.rows for each in runs]
        self.read = self.read or next(
            (line.strip() for line in plan if re.search("IVF:|ivf_last_scan", line)), ""
        )

    def mean(self) -> float:
        return float(np.mean(self.fastest))

    def point(self, target: float, exact: "Measured") -> dict:
        found = sum(ask.right(rows, true) for rows, true in zip(self.rows, exact.rows))
        wanted = sum(map(len, exact.rows))
        return {
            "target": target,
            "recall": found / max(wanted, 1),
            "found": found,
            "wanted": wanted,
            "ms": self.mean(),
            "per_second": 1000 / self.mean(),
            "read": self.read,
        }
