"""Embeds what is queued in embed.queue. Any number of workers may run; libpq's PG* variables name the database.

    worker.py MODEL [--once]

MODEL is `minilm` (packaged), or the name of a model of an OpenAI-compatible endpoint, which EMBED_URL (such as
http://127.0.0.1:8080/v1) and EMBED_KEY name. --once: ends when the queue is empty."""

import argparse
import json
import os
import sys
import time
import urllib.request
from pathlib import Path
from typing import Callable

import numpy as np
import psycopg

BATCH = 64
ATTEMPTS = 5
WAIT_SECONDS = 5.0  # for a notification; rows that become due by themselves are seen after it

sys.path += [str(Path(__file__).resolve().parents[1] / "demo")]

Embed = Callable[[list[str]], np.ndarray]


def endpoint(model: str) -> Embed:
    url, key = os.environ["EMBED_URL"].rstrip("/") + "/embeddings", os.environ.get("EMBED_KEY", "")

    def embed(texts: list[str]) -> np.ndarray:
        body = json.dumps({"model": model, "input": texts}).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=60) as answer:
            data = json.load(answer)["data"]
        return np.array([each["embedding"] for each in sorted(data, key=lambda each: each["index"])])

    return embed


def load(model: str) -> Embed:
    if "EMBED_URL" in os.environ:
        return endpoint(model)
    if model != "minilm":
        raise SystemExit(f"error: model {model}: set EMBED_URL, or use minilm")
    from model import MiniLM
    return MiniLM().embed_all


def claim(db: psycopg.Connection, model: str) -> list[tuple[int, bytes, str, int]]:
    """Locked until the transaction ends: no other worker takes them, and a killed worker's are free at once."""
    rows = db.execute("SELECT id, hash, body, attempts FROM embed.queue WHERE model = %s AND due_at <= now() "
                      "ORDER BY due_at, id LIMIT %s FOR UPDATE SKIP LOCKED", (model, BATCH)).fetchall()
    # A writer whose snapshot is older than the stored embedding may have queued its text once more.
    known = {key for (key,) in db.execute(
        "DELETE FROM embed.queue q USING embed.store s WHERE q.id = ANY (%s) AND s.model = q.model "
        "AND s.hash = q.hash RETURNING q.id", ([row[0] for row in rows],))}
    return [row for row in rows if row[0] not in known]


def store(db: psycopg.Connection, model: str, rows: list, vectors: np.ndarray) -> None:
    """The embedding is stored and the text leaves the queue in one transaction: both or neither."""
    literals = ["[" + ",".join(map(repr, vector.astype(float).tolist())) + "]" for vector in vectors]
    db.execute("INSERT INTO embed.store (model, hash, embedding) SELECT %s, h, e::vector "
               "FROM unnest(%s::bytea[], %s::text[]) t(h, e) ON CONFLICT (model, hash) DO NOTHING",
               (model, [row[1] for row in rows], literals))
    db.execute("DELETE FROM embed.queue WHERE id = ANY (%s)", ([row[0] for row in rows],))


def postpone(db: psycopg.Connection, row: tuple, error: str) -> None:
    """Waits 1, 2, 4, ... seconds; after the last attempt the text is dead."""
    if row[3] + 1 < ATTEMPTS:
        db.execute("UPDATE embed.queue SET attempts = attempts + 1, due_at = now() + make_interval(secs => %s) "
                   "WHERE id = %s", (2 ** row[3], row[0]))
        return
    db.execute("WITH gone AS (DELETE FROM embed.queue WHERE id = %s RETURNING model, hash, body) "
               "INSERT INTO embed.dead (model, hash, body, error) SELECT model, hash, body, %s FROM gone",
               (row[0], error[:1000]))


def checked(embed: Embed, texts: list[str], dimensions: int) -> np.ndarray:
    vectors = np.asarray(embed(texts), dtype=np.float32)
    if vectors.shape != (len(texts), dimensions) or not np.isfinite(vectors).all():
        raise ValueError(f"the model gave {vectors.shape}, or numbers that are not finite, for {len(texts)} texts "
                         f"of {dimensions} dimensions")
    return vectors


def work(db: psycopg.Connection, model: str, dimensions: int, embed: Embed) -> int:
    """One batch. If it fails, each of its texts is tried alone, so that one bad text delays no other."""
    with db.transaction():
        rows = claim(db, model)
        if not rows:
            return 0  # what was known already has left the queue
        try:
            vectors = checked(embed, [row[2] for row in rows], dimensions)
        except Exception as error:  # whatever a model or an endpoint may raise
            if len(rows) == 1 or isinstance(error, OSError) and not hasattr(error, "code"):
                for row in rows:
                    postpone(db, row, repr(error))
                return len(rows)
        else:
            store(db, model, rows, vectors)
            return len(rows)
        for row in rows:
            try:
                store(db, model, [row], checked(embed, [row[2]], dimensions))
            except psycopg.Error:
                raise
            except Exception as error:
                postpone(db, row, repr(error))
        return len(rows)


def serve(model: str, embed: Embed, once: bool) -> None:
    with psycopg.connect(autocommit=True) as db:
        db.execute("LISTEN embed_queue")
        found = db.execute("SELECT dimensions FROM embed.models WHERE name = %s", (model,)).fetchone()
        if found is None:
            raise SystemExit(f"error: there is no model {model}: call embed.add_model() first")
        while True:
            if work(db, model, found[0], embed):
                continue
            if once and not db.execute("SELECT 1 FROM embed.queue WHERE model = %s LIMIT 1", (model,)).fetchone():
                return
            for _ in db.notifies(timeout=0.2 if once else WAIT_SECONDS, stop_after=1):
                pass


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("model")
    arguments.add_argument("--once", action="store_true")
    options = arguments.parse_args()
    embed = load(options.model)
    while True:
        try:
            return serve(options.model, embed, options.once)
        except psycopg.OperationalError as error:  # the server restarts: what was claimed is in the queue again
            print(f"waiting for the server: {error}", file=sys.stderr, flush=True)
            time.sleep(1)


if __name__ == "__main__":
    main()
