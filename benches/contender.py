"""What is measured: one index of one extension on a table of its own, and how its queries are timed."""

import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from threading import Event, Thread

import numpy as np
import psycopg

import data as datasets

# What demo and benchmarks share is beside the scripts, which are no package.
sys.path.append(str(datasets.ROOT / "scripts"))
from client import register_vector

OPERATOR = {"cosine": "<=>", "l2": "<->", "ip": "<#>", "hamming": "<~>"}


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


def insert_rows(connection: psycopg.Connection, table: str, first: int, rows: np.ndarray, data: datasets.Data) -> None:
    buckets, topics = datasets.buckets(first, len(rows)), data.topics(rows)
    with connection.cursor().copy(f"COPY {table} FROM STDIN (FORMAT binary)") as copy:
        copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8))
        for i, value in enumerate(binary(rows, data.kind)):
            copy.write(struct.pack(">hiiiiii", 4, 4, first + i, 4, buckets[i], 4, topics[i])
                       + struct.pack(">i", len(value)) + value)
        copy.write(struct.pack(">h", -1))


def binary(rows: np.ndarray, kind: str) -> Iterator[bytes]:
    """The binary form of rows of a type."""
    if kind == "bit":
        head, wide = struct.pack(">i", rows.shape[1]), np.packbits(rows > 0, axis=1)
    else:
        head, wide = struct.pack(">HH", rows.shape[1], 0), rows.astype({"vector": ">f4", "halfvec": ">f2"}[kind])
    return (head + row.tobytes() for row in wide)


class Peak:
    """The most anonymous memory that a backend has while this is entered (it and its threads; of pgvector's
    build the parallel workers' and the shared memory are not in it)."""

    def __init__(self, connection: psycopg.Connection):
        self.status = Path(f"/proc/{connection.info.backend_pid}/status")
        self.kilobytes = 0
        self.ended = Event()
        self.watcher = Thread(target=self.watch)

    def watch(self) -> None:
        while True:
            try:
                line = next(l for l in self.status.read_text().splitlines() if l.startswith("RssAnon"))
            except OSError:
                return
            self.kilobytes = max(self.kilobytes, int(line.split()[1]))
            if self.ended.wait(0.02):
                return

    def __enter__(self) -> "Peak":
        self.watcher.start()
        return self

    def __exit__(self, *_) -> None:
        self.ended.set()
        self.watcher.join()


def create_index(connection: psycopg.Connection, contender: Contender, data: datasets.Data, name: str,
                 columns: str = "") -> dict:
    with Peak(connection) as peak:
        began = time.perf_counter()
        connection.execute(f"CREATE INDEX {name} ON {contender.table} USING {contender.method} "
                           f"(e {data.kind}_{data.metric}_ops{columns}) {contender.options}")
        seconds = time.perf_counter() - began
    size = connection.execute(f"SELECT pg_relation_size('{contender.schema}.{name}')").fetchone()[0]
    return {"build_seconds": seconds, "index_bytes": size, "peak_mb": peak.kilobytes / 1024}


def build(contender: Contender, data: datasets.Data) -> dict:
    connection = connect(contender.schema)
    connection.execute(f"DROP TABLE IF EXISTS {contender.table}")
    connection.execute(f"CREATE TABLE {contender.table} (id int, bucket int, topic int, "
                       f"e {data.kind}({data.rows.shape[1]}))")
    insert_rows(connection, contender.table, 0, data.rows, data)
    connection.execute(f"VACUUM ANALYZE {contender.table}")
    connection.execute("CHECKPOINT")
    built = create_index(connection, contender, data, f"{contender.table.split('.')[1]}_index")
    for column in datasets.FILTERS:
        connection.execute(f"CREATE INDEX ON {contender.table} ({column})")
    connection.execute(f"ANALYZE {contender.table}")
    return built


def nearest(contender: Contender, data: datasets.Data, where: str = "", limit: int = 10) -> str:
    """The query that is measured."""
    return f"SELECT id FROM {contender.table} {where} ORDER BY {order(data)} LIMIT {limit}"


def order(data: datasets.Data) -> str:
    """The distance to a query, which clients send as a vector."""
    query = {"vector": "%b", "halfvec": "%b::halfvec", "bit": f"binary_quantize(%b)::bit({data.rows.shape[1]})"}
    return f"e {OPERATOR[data.metric]} {query[data.kind]}"


@dataclass
class Timed:
    """The answers of some queries, and the moments (of the machine's monotonic clock) between them."""

    found: list[list[int]]
    moments: list[float]

    def summary(self) -> dict:
        ms = np.diff(self.moments) * 1000
        return {"qps": 1000 / ms.mean(), "p50_ms": float(np.percentile(ms, 50)),
                "p99_ms": float(np.percentile(ms, 99))}


def timed(contender: Contender, data: datasets.Data, settings: list[str], where: str, count: int,
          together: Barrier | None = None) -> Timed:
    """Latencies and answers of one connection; prepared statements with binary parameters. Connections that are
    measured `together` begin at the same moment."""
    connection = connect(contender.schema)
    for setting in settings:
        connection.execute(f"SET {setting}")
    sql = nearest(contender, data, where)
    queries = data.queries[:count]
    found = [[r[0] for r in connection.execute(sql, (q,), prepare=True)] for q in queries]
    if together:
        together.wait()
    moments = [time.monotonic()]
    for q in queries:
        connection.execute(sql, (q,), prepare=True).fetchall()
        moments.append(time.monotonic())
    return Timed(found, moments)


def recall(data: datasets.Data, found: list[list[int]], farthest: np.ndarray) -> float:
    hits = 0
    for query, ids, limit in zip(data.queries, found, farthest):
        if ids:
            d = datasets.distances(data.metric, data.rows[ids], query[None])[0]
            hits += int((d <= limit + 1e-6 * max(1.0, abs(limit))).sum())
    return hits / (len(found) * datasets.NEIGHBOURS)
