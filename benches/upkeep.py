"""An index while it is used: autovacuum at work, queries that never stop, and what a scan reads."""

import multiprocessing
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

import numpy as np
import psycopg

import data as datasets
from contender import Contender, connect, nearest
from timing import Statement, encoded

# Seconds between autovacuum's looks at a database, so that a run takes minutes; "default": Postgres' minute.
NAPTIME = os.environ.get("NAPTIME", "10")
LOOKS = 60.0 if NAPTIME == "default" else float(NAPTIME)
# Seconds between readings of what autovacuum is doing.
PAUSE = 0.05


@contextmanager
def autovacuum() -> Iterator[None]:
    """A server with autovacuum as Postgres has it, but for the time between its looks; then as before."""
    usual = os.environ["BENCH_SETTINGS"].splitlines()
    ours = [s for s in usual if not s.startswith("autovacuum")]
    if NAPTIME != "default":
        ours.append(f"autovacuum_naptime = {NAPTIME}")
    with psycopg.connect() as connection:
        # Only then it says for how long a vacuum has slept.
        if connection.info.server_version >= 180000:
            ours.append("track_cost_delay_timing = on")
    _restart(ours)
    try:
        yield
    finally:
        _restart(usual)


def _restart(settings: list[str]) -> None:
    script = datasets.ROOT / "scripts" / "server.sh"
    server = [os.environ["BENCH_SERVER"], os.environ["BENCH_PG_CONFIG"], "5432"]
    subprocess.run([script, "start", *server, *settings], check=True, capture_output=True)


class Autovacuum(Thread):
    """Records each vacuum of a table: when it began and ended, how long it was at the indexes, and what became of
    the index. The end of a vacuum is seen within a twentieth of a second."""

    def __init__(self, contender: Contender, index: str):
        super().__init__(daemon=True)
        self.contender, self.index = contender, index
        with connect(contender.schema) as connection:
            self.before = state(connection, contender, index)
        self.vacuums: list[dict] = []
        self.busy = False
        self.ended = Event()
        self.start()

    def run(self) -> None:
        connection = connect(self.contender.schema)
        # Before PostgreSQL 18 there is no column `delay_time`.
        sql = (f"SELECT phase, (to_jsonb(p) ->> 'delay_time')::float / 1000 FROM pg_stat_progress_vacuum p "
               f"WHERE relid = '{self.contender.table}'::regclass")
        running: dict | None = None
        seen = time.monotonic()
        while not self.ended.wait(PAUSE):
            row, now = connection.execute(sql).fetchone(), time.monotonic()
            self.busy = row is not None
            if row and running is None:
                running = {"began": now, "cleaning_seconds": 0.0}
            if row and row[0] == "cleaning up indexes":
                running["cleaning_seconds"] += now - seen
            if row and row[1] is not None:
                running["asleep_seconds"] = row[1]
            if running and not row:
                self.vacuums.append(running | {"ended": now} | state(connection, self.contender, self.index))
                running = None
            seen = now

    def settled(self, since: float) -> float:
        """Waits until autovacuum has had two looks and found nothing to do; the seconds from `since` to the end
        of its last vacuum."""
        quiet = time.monotonic()
        while time.monotonic() - quiet < 2 * LOOKS + 1:
            time.sleep(PAUSE)
            if self.busy:
                quiet = time.monotonic()
        return max(self.vacuums[-1]["ended"] - since, 0.0) if self.vacuums else 0.0

    def stop(self) -> dict:
        """The vacuums, how many of them made new lists, the rows that those copied, and how many in a second."""
        self.ended.set()
        self.join()
        renewed, built = [], self.before.get("built_rows")
        for vacuum in self.vacuums:
            if vacuum.get("built_rows") != built:
                renewed.append(vacuum)
            built = vacuum.get("built_rows")
        rows, seconds = sum(v["built_rows"] for v in renewed), sum(v["cleaning_seconds"] for v in renewed)
        return {"vacuums": self.vacuums, "renewals": len(renewed), "rows": rows,
                "rows_per_second": rows / seconds if seconds else None}


def state(connection: psycopg.Connection, contender: Contender, index: str) -> dict:
    """What is known of an index without asking it anything."""
    size, = connection.execute(f"SELECT pg_relation_size('{contender.schema}.{index}')").fetchone()
    if contender.method != "ivf":
        return {"index_bytes": size}
    info, = connection.execute(f"SELECT ivf_index_info('{contender.schema}.{index}')").fetchone()
    keys = ("lists", "live_rows", "dead_rows", "built_rows", "imbalance", "directory_bytes")
    return {"index_bytes": size, **{key: info[key] for key in keys}, "maintenance": info.get("maintenance")}


class Queries:
    """A process that asks one query after the other until it is stopped; it sleeps while it waits."""

    def __init__(self, contender: Contender, data: datasets.Data, settings: list[str]):
        forked = multiprocessing.get_context("fork")
        self.enough, self.begun = forked.Event(), forked.Event()
        self.answer, sending = forked.Pipe(duplex=False)
        self.process = forked.Process(target=self._work, args=(contender, data, settings, sending), daemon=True)
        self.process.start()
        sending.close()
        self.begun.wait(60)

    def _work(self, contender: Contender, data: datasets.Data, settings: list[str], sending) -> None:
        statement = Statement(contender.schema, nearest(contender, data), settings)
        parameters = encoded(data.queries)
        for each in parameters[:50]:
            statement.ids(each)
        self.begun.set()
        moments = [time.monotonic()]
        while not self.enough.is_set():
            # The timed call would ignore errors.
            statement.ids(parameters[len(moments) % len(parameters)])
            moments.append(time.monotonic())
        sending.send(np.diff(moments) * 1000)

    def stop(self) -> np.ndarray:
        """Milliseconds of each query."""
        self.enough.set()
        try:
            return self.answer.recv()
        except EOFError:
            raise SystemExit("the connection that asks all the time has failed") from None
        finally:
            self.process.join()


def latencies(ms: np.ndarray) -> dict:
    return {"queries": len(ms), "p50_ms": float(np.percentile(ms, 50)), "p99_ms": float(np.percentile(ms, 99)),
            "worst_ms": float(ms.max())}


def codes_read(contender: Contender, data: datasets.Data, settings: list[str], count: int) -> float:
    """Codes that a query reads, on average."""
    statement = Statement(contender.schema, nearest(contender, data), settings)
    sql = "SELECT (ivf_last_scan() ->> 'codes')::bigint"
    read = []
    for each in encoded(data.queries[:count]):
        statement.ids(each)
        read.append(statement.connection.execute(sql).fetchone()[0])
    return float(np.mean(read))
