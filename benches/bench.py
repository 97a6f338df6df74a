"""Measures vector_search beside pgvector on the server that libpq's variables name."""

import json
import os
import platform
import struct
import time
from datetime import date
from multiprocessing import Process, Queue
from pathlib import Path

import numpy as np
import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format

import data as datasets
import report

OPERATOR = {"cosine": "<=>", "l2": "<->", "ip": "<#>"}
CLASS = {"cosine": "vector_cosine_ops", "l2": "vector_l2_ops", "ip": "vector_ip_ops"}
STEPS = os.environ.get("STEPS", "build,exact,search,filter,insert,vacuum").split(",")
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
                  [0.8, 0.9, 0.95, 0.98, 0.99, 0.995]),
        Contender("pgvector hnsw", "theirs", "hnsw", "WITH (m = 16, ef_construction = 64)",
                  "hnsw.ef_search", [10, 20, 40, 80, 120, 200, 400, 800]),
        Contender("pgvector ivfflat", "theirs", "ivfflat", f"WITH (lists = {lists})",
                  "ivfflat.probes", [p for p in (1, 2, 5, 10, 20, 40, 80, 160) if p <= lists]),
    ]


def connect(schema: str) -> psycopg.Connection:
    connection = psycopg.connect(autocommit=True)
    connection.execute(f"SET search_path = {schema}, public")
    oid = connection.execute("SELECT 'vector'::regtype::oid").fetchone()[0]

    class VectorDumper(Dumper):
        format = Format.BINARY

        def dump(self, vector: np.ndarray) -> bytes:
            return struct.pack(">HH", len(vector), 0) + vector.astype(">f4").tobytes()

    VectorDumper.oid = oid
    connection.adapters.register_dumper(np.ndarray, VectorDumper)
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


def build(contender: Contender, data: datasets.Data) -> dict:
    connection = connect(contender.schema)
    connection.execute(f"DROP TABLE IF EXISTS {contender.table}")
    connection.execute(f"CREATE TABLE {contender.table} (id int, bucket int, e vector({data.rows.shape[1]}))")
    insert_rows(connection, contender.table, 0, data.rows)
    connection.execute(f"VACUUM ANALYZE {contender.table}")
    connection.execute("CHECKPOINT")
    began = time.perf_counter()
    connection.execute(f"CREATE INDEX {contender.method}_index ON {contender.table} USING {contender.method} "
                       f"(e {CLASS[data.metric]}) {contender.options}")
    seconds = time.perf_counter() - began
    size = connection.execute(f"SELECT pg_relation_size('{contender.schema}.{contender.method}_index')").fetchone()[0]
    connection.execute(f"CREATE INDEX ON {contender.table} (bucket)")
    connection.execute(f"ANALYZE {contender.table}")
    return {"build_seconds": seconds, "index_bytes": size}


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


def machine() -> dict:
    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.machine())
    with psycopg.connect(autocommit=True) as connection:
        version = connection.execute("SHOW server_version").fetchone()[0]
        extensions = dict(connection.execute(
            "SELECT extname, extversion FROM pg_extension WHERE extname LIKE 'vector%'").fetchall())
    return {"cpu": cpu, "cores": os.cpu_count(), "postgres": version, "extensions": extensions}


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
    functions = {"build": build, "exact": exact, "search": search, "filter": filtered, "insert": inserts, "vacuum": vacuum}
    present = [c for c in contenders(len(data.rows)) if c.schema == "ours" or "vector" in available]
    for step in STEPS:
        for contender in present:
            kept = results.setdefault(contender.name, {})
            if step in kept:
                continue
            print(f"{step}: {contender.name}", flush=True)
            kept[step] = functions[step](contender, data)
            path.write_text(json.dumps(results, indent=1))
    print(report.write(out, results))


if __name__ == "__main__":
    main()
