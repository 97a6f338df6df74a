"""Measures vector_search beside pgvector on the server that libpq's variables name."""

import json
import os
import platform
import struct
import sys
import time
from datetime import date
from multiprocessing import Process, Queue
from pathlib import Path
from subprocess import run
from threading import Event, Thread

import numpy as np
import psycopg

import data as datasets
import report

# What demo and benchmarks share is beside the scripts, which are no package.
sys.path.append(str(datasets.ROOT / "scripts"))
from client import register_vector

OPERATOR = {"cosine": "<=>", "l2": "<->", "ip": "<#>"}
CLASS = {"cosine": "vector_cosine_ops", "l2": "vector_l2_ops", "ip": "vector_ip_ops"}
STEPS = os.environ.get("STEPS", "build,memory,exact,cold,search,filter,insert,vacuum").split(",")
FULL = bool(os.environ.get("FULL"))
SELECTIVITIES = [0.5, 0.1, 0.01, 0.001]


class Contender:
    """One index of one extension, on a table of its own."""

    def __init__(self, name: str, schema: str, method: str, options: str, setting: str, efforts: list):
        self.name, self.schema, self.method = name, schema, method
        self.options, self.setting, self.efforts = options, setting, efforts
        self.table = f"{schema}.{method}_items"


def contenders(rows: int) -> list[Contender]:
    lists = max(rows // 1000, 10)
    return [
        Contender("vector_search ivf", "ours", "ivf", "", "ivf.recall_target",
                  [0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 0.995]),
        Contender("pgvector hnsw", "theirs", "hnsw", "WITH (m = 16, ef_construction = 64)",
                  "hnsw.ef_search", [10, 20, 40, 80, 120, 200, 400, 800]),
        Contender("pgvector ivfflat", "theirs", "ivfflat", f"WITH (lists = {lists})",
                  "ivfflat.probes", [p for p in (1, 2, 5, 10, 20, 40, 80, 160) if p <= lists]),
    ]


def connect(schema: str) -> psycopg.Connection:
    connection = psycopg.connect(autocommit=True)
    connection.execute(f"SET search_path = {schema}, public")
    register_vector(connection)
    connection.execute("SELECT '[1]'::vector <-> '[1]'")
    return connection


def insert_rows(connection: psycopg.Connection, table: str, first: int, rows: np.ndarray) -> None:
    with connection.cursor().copy(f"COPY {table} FROM STDIN (FORMAT binary)") as copy:
        copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8))
        head = struct.pack(">HH", rows.shape[1], 0)
        wide = rows.astype(">f4")
        for i, row in enumerate(wide):
            value = head + row.tobytes()
            # A number between 0 and 999 that has nothing to do with the vector.
            bucket = (first + i) * 2654435761 % 2**32 * 1000 >> 32
            copy.write(struct.pack(">hiiii", 3, 4, first + i, 4, bucket)
                       + struct.pack(">i", len(value)) + value)
        copy.write(struct.pack(">h", -1))


class Peak:
    """The most anonymous memory that a backend has while this is entered (it and its threads; of pgvector's
    build the parallel workers' and the shared memory are not in it)."""

    def __init__(self, connection: psycopg.Connection):
        self.status = Path(f"/proc/{connection.info.backend_pid}/status")
        self.kilobytes = 0
        self.ended = Event()
        self.watcher = Thread(target=self.watch)

    def watch(self) -> None:
        while not self.ended.wait(0.02):
            try:
                line = next(l for l in self.status.read_text().splitlines() if l.startswith("RssAnon"))
            except OSError:
                return
            self.kilobytes = max(self.kilobytes, int(line.split()[1]))

    def __enter__(self) -> "Peak":
        self.watcher.start()
        return self

    def __exit__(self, *_) -> None:
        self.ended.set()
        self.watcher.join()


def create_index(connection: psycopg.Connection, contender: Contender, data: datasets.Data, name: str) -> dict:
    with Peak(connection) as peak:
        began = time.perf_counter()
        connection.execute(f"CREATE INDEX {name} ON {contender.table} USING {contender.method} "
                           f"(e {CLASS[data.metric]}) {contender.options}")
        seconds = time.perf_counter() - began
    size = connection.execute(f"SELECT pg_relation_size('{contender.schema}.{name}')").fetchone()[0]
    return {"build_seconds": seconds, "index_bytes": size, "peak_mb": peak.kilobytes / 1024}


def build(contender: Contender, data: datasets.Data) -> dict:
    connection = connect(contender.schema)
    connection.execute(f"DROP TABLE IF EXISTS {contender.table}")
    connection.execute(f"CREATE TABLE {contender.table} (id int, bucket int, e vector({data.rows.shape[1]}))")
    insert_rows(connection, contender.table, 0, data.rows)
    connection.execute(f"VACUUM ANALYZE {contender.table}")
    connection.execute("CHECKPOINT")
    built = create_index(connection, contender, data, f"{contender.table.split('.')[1]}_index")
    connection.execute(f"CREATE INDEX ON {contender.table} (bucket)")
    connection.execute(f"ANALYZE {contender.table}")
    return built


def memory(contender: Contender, data: datasets.Data) -> dict | None:
    """A second build of our index, with PostgreSQL's default `maintenance_work_mem`."""
    if contender.method != "ivf":
        return None
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
        run([*server, "stop", os.environ["BENCH_SERVER"]], check=True, capture_output=True)
        try:
            os.sync()
            Path("/proc/sys/vm/drop_caches").write_text("3")
        except OSError:
            emptied = False
        settings = os.environ["BENCH_SETTINGS"].splitlines()
        run([*server, "start", os.environ["BENCH_SERVER"], os.environ["BENCH_PG_CONFIG"], "5432", *settings],
            check=True, capture_output=True)
        connection = connect(contender.schema)
        connection.execute(f"SET {setting}")
        connection.execute("SET enable_seqscan = off")
        began = time.perf_counter()
        connection.execute(f"SELECT id FROM {contender.table} ORDER BY e {OPERATOR[data.metric]} %b LIMIT 10",
                           (query,)).fetchall()
        latencies.append(1000 * (time.perf_counter() - began))
    print(f"  {contender.name}: p50 {np.median(latencies):.0f} ms", flush=True)
    return {"p50_ms": float(np.median(latencies)), "os_cache_emptied": emptied}


def timed(contender: Contender, data: datasets.Data, settings: list[str], where: str, count: int) -> dict:
    """Latencies and recall of one connection; prepared statements with binary parameters."""
    connection = connect(contender.schema)
    for setting in settings:
        connection.execute(f"SET {setting}")
    sql = f"SELECT id FROM {contender.table} {where} ORDER BY e {OPERATOR[data.metric]} %b LIMIT 10"
    queries = data.queries[:count]
    found = [[r[0] for r in connection.execute(sql, (q,), prepare=True)] for q in queries]
    latencies = []
    for q in queries:
        began = time.perf_counter()
        connection.execute(sql, (q,), prepare=True).fetchall()
        latencies.append(time.perf_counter() - began)
    ms = np.array(latencies) * 1000
    return {"found": found, "qps": 1000 / ms.mean(), "p50_ms": float(np.percentile(ms, 50)),
            "p99_ms": float(np.percentile(ms, 99))}


def recall(data: datasets.Data, found: list[list[int]], farthest: np.ndarray) -> float:
    hits = 0
    for query, ids, limit in zip(data.queries, found, farthest):
        if ids:
            d = datasets.distances(data.metric, data.rows[ids], query[None])[0]
            hits += int((d <= limit + 1e-6 * max(1.0, abs(limit))).sum())
    return hits / (len(found) * datasets.NEIGHBOURS)


def search(contender: Contender, data: datasets.Data) -> list[dict]:
    out = []
    for effort in contender.efforts:
        settings = [f"{contender.setting} = {effort}", "enable_seqscan = off"]
        one = timed(contender, data, settings, "", len(data.queries))
        point = {"effort": effort, "recall": recall(data, one.pop("found"), data.farthest), **one,
                 "qps_2": concurrent(contender, data, settings, 2)}
        out.append(point)
        print(f"  {contender.name} {effort}: recall {point['recall']:.4f}, {point['qps']:.0f} queries/s, "
              f"{point['qps_2']:.0f} at 2 connections, p99 {point['p99_ms']:.2f} ms", flush=True)
    return out


def concurrent(contender: Contender, data: datasets.Data, settings: list[str], connections: int) -> float:
    def run(results: Queue) -> None:
        results.put(timed(contender, data, settings, "", len(data.queries))["qps"])

    results: Queue = Queue()
    workers = [Process(target=run, args=(results,)) for _ in range(connections)]
    for worker in workers:
        worker.start()
    rates = [results.get() for _ in workers]
    for worker in workers:
        worker.join()
    return sum(rates)


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
        point = {"share": share, "recall": recall(data, one.pop("found"), farthest), **one}
        out.append(point)
        print(f"  {contender.name}, {share:.1%} pass: recall {point['recall']:.3f}, {point['qps']:.0f} queries/s",
              flush=True)
    return out


def exact(contender: Contender, data: datasets.Data) -> str | None:
    """Whether an exhaustive scan of our index returns what a sequential scan does, in its order."""
    if contender.method != "ivf":
        return None
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
    connection.execute(f"DELETE FROM {contender.table} WHERE id % 10 = 3")
    began = time.perf_counter()
    connection.execute(f"VACUUM (INDEX_CLEANUP ON) {contender.table}")
    return time.perf_counter() - began


def scaling(contender: Contender, data: datasets.Data) -> list[dict] | None:
    """Our index by the number of rows, with its defaults. Sizes beyond the data's are filled with mixtures."""
    if contender.method != "ivf":
        return None
    largest = int(os.environ.get("LARGEST", "1000000"))
    sizes = [n for n in (10_000, 30_000, 100_000, 300_000, 1_000_000) if n <= largest]
    rows = datasets.enlarged(data.rows, sizes[-1])
    out = []
    for size in sizes:
        part = datasets.part(data, rows[:size])
        one = Contender(contender.name, contender.schema, "ivf", "", contender.setting, [])
        one.table = f"{contender.schema}.scaling_items"
        built = build(one, part)
        connect(one.schema).execute(f"SELECT count(e) FROM {one.table}")
        asked = timed(one, part, ["enable_seqscan = off"], "", len(part.queries))
        point = {"rows": size, "mixtures": max(size - len(data.rows), 0),
                 "recall": recall(part, asked.pop("found"), part.farthest), **built, **asked}
        out.append(point)
        print(f"  {size} rows: build {built['build_seconds']:.1f} s, recall {point['recall']:.3f}, "
              f"p50 {point['p50_ms']:.2f} ms, p99 {point['p99_ms']:.2f} ms", flush=True)
        connect(one.schema).execute(f"DROP TABLE {one.table}")
    return out


def machine() -> dict:
    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.machine())
    with psycopg.connect(autocommit=True) as connection:
        version = connection.execute("SHOW server_version").fetchone()[0]
        extensions = dict(connection.execute(
            "SELECT extname, extversion FROM pg_extension WHERE extname LIKE 'vector%'").fetchall())
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"cpu": cpu, "cores": os.cpu_count(), "memory_gib": round(gib), "postgres": version, "extensions": extensions}


def main() -> None:
    data = datasets.load()
    with psycopg.connect(autocommit=True) as connection:
        available = {r[0] for r in connection.execute("SELECT name FROM pg_available_extensions")}
        for schema, extension in (("ours", "vector_search"), ("theirs", "vector")):
            if extension not in available:
                print(f"{extension} is not installed in this server: measured without", flush=True)
                continue
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
            connection.execute(f"CREATE EXTENSION IF NOT EXISTS {extension} SCHEMA {schema}")
    out = datasets.ROOT / "docs" / "benchmarks" / f"{date.today()}-{data.name}"
    out.mkdir(parents=True, exist_ok=True)
    path = out / "results.json"
    # Steps that an interrupted run has finished are kept.
    results = json.loads(path.read_text()) if path.exists() else {}
    results["machine"] = machine()
    results["data"] = {"name": data.name, "rows": len(data.rows), "dimensions": data.rows.shape[1],
                       "queries": len(data.queries), "metric": data.metric}
    functions = {"build": build, "memory": memory, "exact": exact, "cold": cold, "search": search, "filter": filtered, "insert": inserts,
                 "vacuum": vacuum, "scaling": scaling}
    present = [c for c in contenders(len(data.rows)) if c.schema == "ours" or "vector" in available]
    for step in STEPS:
        for contender in present:
            kept = results.setdefault(contender.name, {})
            if step in kept:
                continue
            print(f"{step}: {contender.name}", flush=True)
            began = time.perf_counter()
            kept[step] = functions[step](contender, data)
            print(f"{step}: {contender.name}: {time.perf_counter() - began:.0f} s", flush=True)
            path.write_text(json.dumps(results, indent=1))
    print(report.write(out, results))


if __name__ == "__main__":
    main()
