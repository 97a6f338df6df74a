"""Index: how large it is, a text inserted and found at once, and recall against speed, measured when asked."""

import threading
import time
from typing import Iterator

import numpy as np
from page import ask
from page.database import Session, plain, session
from page.embedding import Embedder
from page.fields import Refused
from psycopg_pool import ConnectionPool

TARGETS = [0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 1.0]
NEAREST = 10
ROUNDS = 3  # of each question; the fastest counts, as other programs run beside

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
    return {**done.rows[0], "written": s.run("", WRITTEN).rows, "targets": TARGETS,
            "questions": s.run("", "SELECT count(*) AS n FROM page.questions").rows[0]["n"],
            "statements": [done.shown()]}


def insert(pool: ConnectionPool, embedder: Embedder, title: str, category: str, text: str, question: str) -> dict:
    """Three transactions, as in an app: the text is written, committed, and found by the next query."""
    vector, embed_ms = embedder.one(f"{title}: {text}")
    asked, _ = embedder.one(question or text)
    with session(pool) as s:
        written = s.run("Insert", INSERT, [title, category, text, vector])
    with session(pool) as s:
        found = s.run("Found by the next query", FIND, [asked], plan=True)
    row = written.rows[0]
    place = next((i + 1 for i, each in enumerate(found.rows) if each["id"] == row["id"]), None)
    return {"passage": row["id"], "document": row["document"], "place": place, "rows": found.rows,
            "timings": {"embed_ms": embed_ms, "insert_ms": written.milliseconds, "find_ms": found.milliseconds},
            "statements": [written.shown(), found.shown()]}


def remove(s: Session, document: int) -> dict:
    if not s.run("", REMOVE, [document]).rows:
        raise Refused("Only texts that were written here can be removed, and this one is gone or was loaded.", 404)
    return {"removed": document}


def curve(pool: ConnectionPool) -> Iterator[dict]:
    """Points of recall and speed. Each question is answered by an exact scan once, then by the index at each target."""
    if not measuring.acquire(blocking=False):
        raise Refused("A measurement is running already.", 409)
    try:
        with session(pool) as s:
            vectors = [row["embedding"] for row in s.run("", QUESTIONS).rows]
        vectors = [np.fromstring(each[1:-1], np.float32, sep=",") if isinstance(each, str) else each
                   for each in vectors]
        steps = len(vectors) * (1 + len(TARGETS))
        exact, times = [], []
        with session(pool) as s:
            s.set("enable_indexscan", "off")
            for done, vector in enumerate(vectors, 1):
                run = s.run("", SEARCH, [vector])
                exact.append(run.rows)
                times.append(run.milliseconds)
                if done % 10 == 0 or done == len(vectors):
                    yield {"done": done, "of": steps, "what": "exact scans"}
        yield {"exact": {"ms": float(np.median(times)), "questions": len(vectors), "sql": SEARCH}}
        for place, target in enumerate(TARGETS):
            yield {"done": len(vectors) * (1 + place), "of": steps, "what": f"recall target {target:g}"}
            yield {"point": point(pool, target, vectors, exact)}
        yield {"done": steps, "of": steps, "what": "done"}
    finally:
        measuring.release()


def point(pool: ConnectionPool, target: float, vectors: list[np.ndarray], exact: list[list[dict]]) -> dict:
    found, wanted, times = 0, 0, []
    with session(pool) as s:
        s.set("ivf.recall_target", f"{target:g}")
        s.set("enable_seqscan", "off")  # the index, also where a small table would be read faster
        for vector, true in zip(vectors, exact):
            runs = [s.run("", SEARCH, [vector]) for _ in range(ROUNDS)]
            times.append(min(each.milliseconds for each in runs))
            found += ask.right(runs[0].rows, true)
            wanted += len(true)
        plan = s.explain(SEARCH, [vectors[0]])
    return {"target": target, "recall": found / max(wanted, 1), "found": found, "wanted": wanted,
            "ms": float(np.mean(times)), "per_second": 1000 / float(np.mean(times)),
            "read": next((line.strip() for line in plan if "IVF:" in line or "ivf_last_scan" in line), "")}
