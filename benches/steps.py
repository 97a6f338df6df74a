"""The steps of a run, each of which measures one contender."""

import os
import subprocess
import time
from copy import copy
from multiprocessing import Barrier, Process, Queue
from pathlib import Path

import numpy as np

import data as datasets
from contender import OPERATOR, Contender, build, connect, create_index, insert_rows, nearest, recall, timed

FULL = bool(os.environ.get("FULL"))
SELECTIVITIES = [0.5, 0.1, 0.01, 0.001]


def memory(contender: Contender, data: datasets.Data) -> dict:
    """A second build of an index, with PostgreSQL's default `maintenance_work_mem`."""
    connection = connect(contender.schema)
    connection.execute("SET maintenance_work_mem = '64MB'")
    built = create_index(connection, contender, data, "small_memory_index")
    connection.execute("DROP INDEX small_memory_index")
    print(f"  {built['build_seconds']:.1f} s, {built['peak_mb']:.0f} MB at most", flush=True)
    return built


def cold(contender: Contender, data: datasets.Data) -> dict:
    """The first queries after a restart of the server, each on a connection of its own; without the
    operating system's cache if this user may empty it."""
    server = [str(datasets.ROOT / "scripts" / "server.sh")]
    latencies, emptied = [], True
    usual = [e for e in contender.efforts if e in (0.95, 20, 80)] or contender.efforts
    setting = f"{contender.setting} = {usual[-1]}"
    for query in data.queries[:8]:
        subprocess.run([*server, "stop", os.environ["BENCH_SERVER"]], check=True, capture_output=True)
        try:
            os.sync()
            Path("/proc/sys/vm/drop_caches").write_text("3")
        except OSError:
            emptied = False
        settings = os.environ["BENCH_SETTINGS"].splitlines()
        subprocess.run([*server, "start", os.environ["BENCH_SERVER"], os.environ["BENCH_PG_CONFIG"], "5432",
                        *settings], check=True, capture_output=True)
        connection = connect(contender.schema)
        connection.execute(f"SET {setting}")
        connection.execute("SET enable_seqscan = off")
        began = time.perf_counter()
        connection.execute(nearest(contender, data), (query,)).fetchall()
        latencies.append(1000 * (time.perf_counter() - began))
    print(f"  {contender.name}: p50 {np.median(latencies):.0f} ms", flush=True)
    return {"p50_ms": float(np.median(latencies)), "os_cache_emptied": emptied}


def search(contender: Contender, data: datasets.Data) -> list[dict]:
    out = []
    for effort in contender.efforts:
        settings = [f"{contender.setting} = {effort}", "enable_seqscan = off"]
        one = timed(contender, data, settings, "", len(data.queries))
        point = {"effort": effort, "recall": recall(data, one.found, data.farthest), **one.summary(),
                 "qps_2": concurrent(contender, data, settings, 2)}
        out.append(point)
        print(f"  {contender.name} {effort}: recall {point['recall']:.4f}, {point['qps']:.0f} queries/s, "
              f"{point['qps_2']:.0f} at 2 connections, p99 {point['p99_ms']:.2f} ms", flush=True)
    return out


def concurrent(contender: Contender, data: datasets.Data, settings: list[str], connections: int) -> float:
    """Queries a second of several connections that begin together, from the first's begin to the last's end."""
    results: Queue = Queue()
    begin = Barrier(connections)

    def work() -> None:
        moments = timed(contender, data, settings, "", len(data.queries), begin).moments
        results.put((moments[0], moments[-1]))

    workers = [Process(target=work) for _ in range(connections)]
    for worker in workers:
        worker.start()
    begins, ends = zip(*[results.get() for _ in workers])
    for worker in workers:
        worker.join()
    return connections * len(data.queries) / (max(ends) - min(begins))


def filtered(contender: Contender, data: datasets.Data) -> list[dict]:
    settings = {
        "ivf": [],
        "hnsw": ["hnsw.ef_search = 80", "hnsw.iterative_scan = strict_order"],
        "ivfflat": ["ivfflat.probes = 20", "ivfflat.iterative_scan = relaxed_order"],
    }[contender.method]
    ids = np.arange(len(data.rows), dtype=np.uint64)
    buckets = (ids * 2654435761 % 2**32 * 1000) >> np.uint64(32)
    out = []
    for share in SELECTIVITIES:
        limit = int(share * 1000)
        passing = data.rows[buckets < limit]
        count = min(len(data.queries), 100)
        if len(passing) < datasets.NEIGHBOURS:
            continue
        farthest = datasets.tenth_nearest(data.metric, passing, data.queries[:count])
        one = timed(contender, data, settings, f"WHERE bucket < {limit}", count)
        point = {"share": share, "recall": recall(data, one.found, farthest), **one.summary()}
        out.append(point)
        print(f"  {contender.name}, {share:.1%} pass: recall {point['recall']:.3f}, {point['qps']:.0f} queries/s",
              flush=True)
    return out


def exact(contender: Contender, data: datasets.Data) -> str:
    """Whether an exhaustive scan of our index returns what a sequential scan does, in its order."""
    connection = connect(contender.schema)
    operator = OPERATOR[data.metric]
    sql = f"SELECT id, e {operator} %b AS d FROM {contender.table} ORDER BY e {operator} %b"

    def rows(*settings: str) -> list[tuple[int, float]]:
        with connection.transaction():
            for setting in settings:
                connection.execute(f"SET LOCAL {setting}")
            return connection.execute(sql, (query, query), prepare=False).fetchall()

    for query in data.queries[:5]:
        by_index = rows("enable_seqscan = off", "ivf.recall_target = 1")
        by_sort = rows("enable_indexscan = off")
        # Equal values come in any order.
        if [d for _, d in by_index] != [d for _, d in by_sort] or sorted(by_index) != sorted(by_sort):
            raise SystemExit(f"{contender.name}: an exhaustive scan is not a sequential scan")
    print(f"  {contender.name}: five exhaustive scans of {len(data.rows)} rows equal sequential scans", flush=True)
    return "equal"


def inserts(contender: Contender, data: datasets.Data) -> float:
    """Rows a second into the built index, a hundred in each transaction."""
    connection = connect(contender.schema)
    rows = data.rows[np.random.default_rng(1).integers(0, len(data.rows), 2000)]
    rows = rows + 0.01 * rows.std() * np.random.default_rng(2).standard_normal(rows.shape).astype(np.float32)
    began = time.perf_counter()
    done = 0
    for i in range(0, len(rows), 100):
        insert_rows(connection, contender.table, len(data.rows) + i, rows[i : i + 100])
        done += 100
        if time.perf_counter() - began > 20:
            break
    return done / (time.perf_counter() - began)


def vacuum(contender: Contender, data: datasets.Data) -> float | None:
    """Seconds of a VACUUM after deleting 10 % (HNSW takes minutes on large tables: FULL=1)."""
    if contender.method == "hnsw" and len(data.rows) > 50_000 and not FULL:
        return None
    connection = connect(contender.schema)
    delete = f"DELETE FROM {contender.table} WHERE id % 10 = 3"
    if connection.execute(delete).rowcount == 0:
        # A run that was stopped here has deleted them, and its VACUUM has done a part of the work.
        build(contender, data)
        connection.execute(delete)
    began = time.perf_counter()
    connection.execute(f"VACUUM (INDEX_CLEANUP ON) {contender.table}")
    return time.perf_counter() - began


def scaling(contender: Contender, data: datasets.Data) -> list[dict]:
    """Our index by the number of rows, with its defaults. Sizes beyond the data's are filled with mixtures."""
    largest = int(os.environ.get("LARGEST", "1000000"))
    sizes = [n for n in (10_000, 30_000, 100_000, 300_000, 1_000_000) if n <= largest]
    rows = datasets.enlarged(data.rows, sizes[-1])
    out = []
    for size in sizes:
        part = datasets.part(data, rows[:size])
        one = copy(contender)
        one.table = f"{contender.schema}.scaling_items"
        built = build(one, part)
        connect(one.schema).execute(f"SELECT count(e) FROM {one.table}")
        asked = timed(one, part, ["enable_seqscan = off"], "", len(part.queries))
        point = {"rows": size, "mixtures": max(size - len(data.rows), 0),
                 "recall": recall(part, asked.found, part.farthest), **built, **asked.summary()}
        out.append(point)
        print(f"  {size} rows: build {built['build_seconds']:.1f} s, recall {point['recall']:.3f}, "
              f"p50 {point['p50_ms']:.2f} ms, p99 {point['p99_ms']:.2f} ms", flush=True)
        connect(one.schema).execute(f"DROP TABLE {one.table}")
    return out
