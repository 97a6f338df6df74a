"""Late interaction: an index over arrays of vectors, one for each token of a text, beside a scan that computes
every value."""

import os
import struct
import sys
import time

import numpy as np

import data as datasets
import sources
from contender import Contender, binary, connect, insert_rows, numbered
from peak import Peak

sys.path.append(str(datasets.ROOT / "examples" / "demo"))

TEXTS, QUERIES = int(float(os.environ.get("TOKEN_TEXTS", "20e3"))), 100
# The model's 384 dimensions are reduced to these: the directions in which the tokens of the first texts vary most.
DIMENSIONS, MOST_TOKENS = 128, 64
KEPT = datasets.ROOT / "target" / "data" / f"tokens-{TEXTS}.npz"
TARGETS = (0.8, 0.9, 0.95, 0.99)
BATCH = 64


def embedded() -> tuple[np.ndarray, np.ndarray]:
    """The vectors of all tokens of real texts of several sources, and where those of each text begin: made once, which
    takes minutes."""
    if not KEPT.exists():
        from model import MiniLM
        # With the marks at both ends, which are left out below.
        model = MiniLM(MOST_TOKENS + 2)
        texts, _ = sources.texts()
        chosen = np.random.default_rng(5).choice(len(texts), TEXTS + QUERIES, replace=False)
        # A batch has texts of similar length, so that it has little padding.
        order = sorted(range(len(chosen)), key=lambda i: len(texts[chosen[i]]))
        of_texts: list[np.ndarray] = [np.empty(0)] * len(chosen)
        for first in range(0, len(order), BATCH):
            batch = order[first:first + BATCH]
            vectors, there = model.tokens([texts[chosen[i]] for i in batch])
            for i, text, count in zip(batch, vectors, there.sum(axis=1)):
                of_texts[i] = text[1:count - 1].astype(np.float16)
        sample = np.concatenate(of_texts[:1000]).astype(np.float32)
        mean = sample.mean(axis=0)
        directions = np.linalg.svd(np.cov((sample - mean).T))[2][:DIMENSIONS].T
        tokens = (np.concatenate(of_texts) - mean) @ directions
        tokens /= np.linalg.norm(tokens, axis=1, keepdims=True)
        KEPT.parent.mkdir(parents=True, exist_ok=True)
        np.savez(KEPT, tokens=tokens.astype(np.float16), ends=np.cumsum([len(text) for text in of_texts]))
    kept = np.load(KEPT)
    return kept["tokens"].astype(np.float32), np.concatenate([[0], kept["ends"]])


def array(tokens: np.ndarray, element: int, kind: str) -> bytes:
    """The binary form of an array."""
    head = struct.pack(">iiiii", 1, 0, element, len(tokens), 1)
    return head + b"".join(struct.pack(">i", len(each)) + each for each in binary(tokens, kind))


def measure(contender: Contender, data: datasets.Data) -> dict:
    """Queries of texts that are not in the table, by the index and without it."""
    tokens, ends = embedded()
    connection, table = connect(contender.schema), f"{contender.schema}.token_items"
    kind = "halfvec"
    element, = connection.execute(f"SELECT '{kind}'::regtype::oid::bigint").fetchone()
    arrays = [array(tokens[a:b], element, kind) for a, b in zip(ends, ends[1:])]
    rows, queries = arrays[:-QUERIES], arrays[-QUERIES:]
    asked = f"{contender.schema}.token_queries"
    for name, values in ((table, rows), (asked, queries)):
        connection.execute(f"DROP TABLE IF EXISTS {name}")
        connection.execute(f"CREATE TABLE {name} (id int, e {kind}({DIMENSIONS})[])")
        connection.execute(f"ALTER TABLE {name} ALTER e SET STORAGE EXTERNAL")
        insert_rows(connection, name, numbered(values))
        connection.execute(f"VACUUM ANALYZE {name}")
    connection.execute("SET max_parallel_workers_per_gather = 0")
    query = f"(SELECT q.e FROM {asked} q WHERE q.id = %s)"
    sql = f"SELECT t.e @# {query} FROM {table} t ORDER BY 1 LIMIT 10"
    truth, scan_ms = answers(connection, sql)
    with Peak(connection) as peak:
        began = time.perf_counter()
        connection.execute(f"CREATE INDEX token_items_index ON {table} USING ivf (e)")
        built = {"build_seconds": time.perf_counter() - began}
    size, = connection.execute(f"SELECT pg_relation_size('{contender.schema}.token_items_index')").fetchone()
    built |= {"peak_mb": peak.kilobytes / 1024, "bytes_per_text": size / len(rows)}
    connection.execute("SET enable_sort = off")
    searched = []
    for target in TARGETS:
        connection.execute(f"SET {contender.setting} = {target}")
        found, ms = answers(connection, sql)
        hits = [np.count_nonzero(np.array(a) <= b[-1]) / len(b) for a, b in zip(found, truth)]
        searched.append({"effort": target, "recall": float(np.mean(hits)), "mean_ms": ms, "qps": 1000 / ms})
        print(f"  {target}: recall {np.mean(hits):.3f}, {ms:.2f} ms, {scan_ms / ms:.0f} times the scan", flush=True)
    connection.execute(f"DROP TABLE {table}, {asked}")
    print(f"  {len(rows)} texts, {len(tokens) / len(arrays):.0f} tokens each: build {built['build_seconds']:.1f} s, "
          f"{built['bytes_per_text']:.0f} bytes a text, scan {scan_ms:.0f} ms", flush=True)
    return {"texts": len(rows), "tokens": len(tokens) / len(arrays), "scan_ms": scan_ms, **built, "search": searched}


def answers(connection, sql: str) -> tuple[list[list[float]], float]:
    """The values of the rows found for each query, and the mean time of a query, after one for warming up."""
    connection.execute(sql, (0,)).fetchall()
    began = time.perf_counter()
    found = [[row[0] for row in connection.execute(sql, (query,))] for query in range(QUERIES)]
    return found, 1000 * (time.perf_counter() - began) / QUERIES
