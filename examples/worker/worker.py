"""Embeds the texts of embed.queue. Any number of workers may run; libpq's PG* variables name the database.

    worker.py MODEL [--once] [--batch 64] [--attempts 8]

MODEL is `minilm` or `wordllama` (packaged), or a model of the OpenAI-compatible endpoint that OPENAI_BASE_URL
(http://127.0.0.1:8080/v1) and OPENAI_API_KEY name. --once: ends when the queue is empty. SIGTERM: ends after the
batch in hand."""

import argparse
import hashlib
import json
import signal
import sys
import time
from dataclasses import dataclass, field

import numpy as np
import psycopg

import models

WAIT_SECONDS = 5.0  # for a notification
LONGEST_PAUSE = 60.0

CLAIM = """SELECT id, hash, body, attempts FROM embed.queue WHERE model = %s AND due_at <= now()
    ORDER BY due_at, id LIMIT %s FOR UPDATE SKIP LOCKED"""
STORE = """INSERT INTO embed.store (model, hash, embedding) SELECT %s, h, e::vector
    FROM unnest(%s::bytea[], %s::text[]) t(h, e) ON CONFLICT (model, hash) DO NOTHING"""
# Half of the pause is random, so that texts that failed together are not retried together.
POSTPONE = """UPDATE embed.queue SET attempts = %(attempts)s, due_at = clock_timestamp()
    + make_interval(secs => least(3600, 2 ^ (%(attempts)s - 1)) * (0.5 + 0.5 * random())) WHERE id = ANY (%(ids)s)"""
BURY = """WITH gone AS (DELETE FROM embed.queue WHERE id = ANY (%(ids)s) RETURNING model, hash, body)
    INSERT INTO embed.dead (model, hash, body, error) SELECT DISTINCT ON (hash) model, hash, body, %(error)s FROM gone
    ON CONFLICT (model, hash) DO UPDATE SET error = EXCLUDED.error, died_at = EXCLUDED.died_at"""


@dataclass
class Claimed:
    """A text, and all rows of the queue that have it."""
    body: str
    ids: list[int] = field(default_factory=list)
    attempts: int = 0


class Worker:
    def __init__(self, model: str, batch: int, attempts: int) -> None:
        self.model, self.batch, self.attempts = model, batch, attempts
        self.embed = models.load(model)
        self.dimensions = 0
        # Embeddings that were computed but perhaps not stored, kept in case the server dies in between.
        self.computed: dict[bytes, np.ndarray] = {}
        self.stopping, self.idle = False, False

    def stop(self, *_: object) -> None:
        self.stopping = True
        if self.idle:
            raise SystemExit(0)

    def run(self, once: bool) -> None:
        failures = 0
        while not self.stopping:
            try:
                with psycopg.connect(autocommit=True) as db:
                    self.begin(db)
                    while not self.stopping:
                        done = self.work(db)
                        failures = 0
                        if once and not done and self.is_empty(db):
                            return
                        if not done:
                            self.wait(db)
            # Claims end with their transaction. A model that was dropped meanwhile is reported by begin().
            except (psycopg.OperationalError, psycopg.IntegrityError, models.Unavailable) as error:
                print(f"worker: {error}".strip(), file=sys.stderr, flush=True)
                self.pause(min(LONGEST_PAUSE, 0.25 * 2 ** failures))
                failures += 1

    def pause(self, seconds: float) -> None:
        self.idle = True
        time.sleep(seconds)
        self.idle = False

    def begin(self, db: psycopg.Connection) -> None:
        db.execute("LISTEN embed_queue")
        found = db.execute("SELECT dimensions FROM embed.models WHERE name = %s", (self.model,)).fetchone()
        if found is None:
            raise SystemExit(f"error: there is no model {self.model}: call embed.add_model() first")
        (self.dimensions,) = found
        if self.computed:
            self.store(db, list(self.computed))
            self.computed.clear()
        db.execute("SELECT embed.queue_missing(%s)", (self.model,))

    def is_empty(self, db: psycopg.Connection) -> bool:
        return db.execute("SELECT 1 FROM embed.queue WHERE model = %s LIMIT 1", (self.model,)).fetchone() is None

    def wait(self, db: psycopg.Connection) -> None:
        """Until a notification, or until the next text becomes due."""
        (due,) = db.execute("SELECT extract(epoch FROM min(due_at) - clock_timestamp())::float8 FROM embed.queue "
                            "WHERE model = %s", (self.model,)).fetchone()
        timeout = WAIT_SECONDS if due is None else min(WAIT_SECONDS, max(due, 0.05))
        self.idle = True
        for _ in db.notifies(timeout=timeout, stop_after=1):
            pass
        self.idle = False

    def work(self, db: psycopg.Connection) -> bool:
        """One batch, in one transaction: a text leaves the queue with its embedding stored, or not at all."""
        with db.transaction():
            rows = db.execute(CLAIM, (self.model, self.batch)).fetchall()
            claimed, known = self.own(db, rows)
            errors = self.compute({key: each.body for key, each in claimed.items()})
            self.store(db, [key for key in claimed if key not in errors])
            for key, error in errors.items():
                self.failed(db, claimed[key], error)
            done = known + [row for key, each in claimed.items() if key not in errors for row in each.ids]
            db.execute("DELETE FROM embed.queue WHERE id = ANY (%s)", (done,))
        self.computed.clear()
        return bool(claimed or known)

    def own(self, db: psycopg.Connection, rows: list[tuple]) -> tuple[dict[bytes, Claimed], list[int]]:
        """The texts of the rows that no other worker has in hand, and the rows whose text is stored already."""
        locks = {row[1]: self.lock(row[1]) for row in rows}
        held = {key for (key,) in db.execute("SELECT k FROM unnest(%s::bigint[]) k WHERE pg_try_advisory_xact_lock(k)",
                                             (list(locks.values()),))}
        # This is a separate statement, so that its snapshot sees what was stored before the locks were taken.
        stored = {key for (key,) in db.execute("SELECT hash FROM embed.store WHERE model = %s AND hash = ANY (%s)",
                                               (self.model, list(locks)))}
        claimed: dict[bytes, Claimed] = {}
        for row, key, body, attempts in rows:
            if locks[key] in held and key not in stored:
                each = claimed.setdefault(key, Claimed(body))
                each.ids.append(row)
                each.attempts = max(each.attempts, attempts)
        return claimed, [row[0] for row in rows if row[1] in stored]

    def lock(self, key: bytes) -> int:
        return int.from_bytes(hashlib.sha256(self.model.encode() + key).digest()[:8], signed=True)

    def compute(self, texts: dict[bytes, str]) -> dict[bytes, str]:
        """Adds to `computed`; returns the errors. A batch that fails is halved: one bad text delays no other."""
        keys = [key for key in texts if key not in self.computed]
        if not keys:
            return {}
        try:
            vectors = self.checked([texts[key] for key in keys])
        except models.Unavailable:
            raise
        except Exception as error:  # whatever a model may raise
            if len(keys) == 1:
                return {keys[0]: repr(error)}
            half = len(keys) // 2
            return (self.compute({key: texts[key] for key in keys[:half]})
                    | self.compute({key: texts[key] for key in keys[half:]}))
        self.computed.update(zip(keys, vectors))
        return {}

    def checked(self, texts: list[str]) -> np.ndarray:
        vectors = np.asarray(self.embed(texts), dtype=np.float32)
        if vectors.shape != (len(texts), self.dimensions):
            raise ValueError(f"the model gave {vectors.shape} numbers for {len(texts)} texts, {self.model} has "
                             f"{self.dimensions} dimensions")
        if not np.isfinite(vectors).all():
            raise ValueError("the model gave numbers that are not finite")
        return vectors

    def store(self, db: psycopg.Connection, keys: list[bytes]) -> None:
        vectors = [json.dumps(self.computed[key].tolist()) for key in keys]
        db.execute(STORE, (self.model, keys, vectors))

    def failed(self, db: psycopg.Connection, each: Claimed, error: str) -> None:
        values = {"ids": each.ids, "attempts": each.attempts + 1, "error": error[:1000].replace("\0", "")}
        db.execute(POSTPONE if each.attempts + 1 < self.attempts else BURY, values)


def main() -> None:
    arguments = argparse.ArgumentParser(description="Embeds the texts of embed.queue.")
    arguments.add_argument("model", help="minilm, wordllama, or a model of the endpoint OPENAI_BASE_URL")
    arguments.add_argument("--once", action="store_true", help="end when the queue is empty")
    arguments.add_argument("--batch", type=int, default=64, help="texts of a request")
    arguments.add_argument("--attempts", type=int, default=8, help="before a text is given up")
    options = arguments.parse_args()
    worker = Worker(options.model, options.batch, options.attempts)
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, worker.stop)
    worker.run(options.once)


if __name__ == "__main__":
    main()
