"""What is measured: one index of one extension on a table of its own."""

import os
import struct
import sys
import time
from collections.abc import Iterable, Iterator

import numpy as np
import psycopg

import data as datasets
from peak import Peak

# Modules that demo and benchmarks share are in scripts/, which is not a package.
sys.path.append(str(datasets.ROOT / "scripts"))
from client import register_vector

OPERATOR = {"cosine": "<=>", "l2": "<->", "ip": "<#>", "l1": "<+>", "hamming": "<~>", "jaccard": "<%>"}


class Contender:
    """One index of one extension, on a table of its own."""

    def __init__(self, name: str, schema: str, method: str, options: str, setting: str, efforts: list):
        self.name, self.schema, self.method = name, schema, method
        self.options, self.setting, self.efforts = options, setting, efforts
        self.table = f"{schema}.{method}_items"


def contenders(rows: int) -> list[Contender]:
    lists = max(rows // 1000, 10)
    everybody = [
        Contender("vector_search ivf", "ours", "ivf", "", "ivf.recall_target",
                  [0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 0.995]),
        Contender("pgvector hnsw", "theirs", "hnsw", "WITH (m = 16, ef_construction = 64)",
                  "hnsw.ef_search", [10, 20, 40, 80, 120, 200, 400, 800]),
        Contender("pgvector ivfflat", "theirs", "ivfflat", f"WITH (lists = {lists})",
                  "ivfflat.probes", [p for p in (1, 2, 5, 10, 20, 40, 80, 160) if p <= lists]),
    ]
    return [c for c in everybody if c.method not in os.environ.get("SKIP", "").split(",")]


def connect(schema: str) -> psycopg.Connection:
    connection = psycopg.connect(autocommit=True)
    connection.execute(f"SET search_path = {schema}, public")
    register_vector(connection)
    connection.execute("SELECT '[1]'::vector <-> '[1]'")
    return connection


def copied(first: int, rows: np.ndarray, data: datasets.Data) -> Iterator[bytes]:
    """Rows in the binary form of COPY, numbered from `first` on."""
    buckets, topics = datasets.buckets(first, len(rows)), data.topics(rows)
    yield b"PGCOPY\n\xff\r\n\0" + bytes(8)
    for i, value in enumerate(binary(rows, data.kind)):
        yield (struct.pack(">hiiiiii", 4, 4, first + i, 4, buckets[i], 4, topics[i])
               + struct.pack(">i", len(value)) + value)
    yield struct.pack(">h", -1)


def numbered(values: Iterable[bytes], first: int = 0) -> Iterator[bytes]:
    """Values in the binary form of COPY, each behind its number."""
    yield b"PGCOPY\n\xff\r\n\0" + bytes(8)
    for number, value in enumerate(values, first):
        yield struct.pack(">hiii", 2, 4, number, len(value)) + value
    yield struct.pack(">h", -1)


def insert_rows(connection: psycopg.Connection, table: str, rows: Iterable[bytes]) -> None:
    """A transaction with rows from `copied`."""
    with connection.cursor().copy(f"COPY {table} FROM STDIN (FORMAT binary)") as copy:
        for part in rows:
            copy.write(part)


def binary(rows: np.ndarray, kind: str) -> Iterator[bytes]:
    """The binary form of rows of a type."""
    if kind == "bit":
        head, wide = struct.pack(">i", rows.shape[1]), np.packbits(rows > 0, axis=1)
    else:
        head, wide = struct.pack(">HH", rows.shape[1], 0), rows.astype({"vector": ">f4", "halfvec": ">f2"}[kind])
    return (head + row.tobytes() for row in wide)


def create_index(connection: psycopg.Connection, contender: Contender, of: datasets.Data | str, name: str,
                 columns: str = "") -> dict:
    """Builds an index with the operator class of data, or with one that is named."""
    opclass = of if isinstance(of, str) else f"{of.kind}_{of.metric}_ops"
    notices: list[str] = []

    def heard(notice: psycopg.errors.Diagnostic) -> None:
        notices.append(notice.message_primary or "")

    connection.add_notice_handler(heard)
    with Peak(connection) as peak:
        began = time.perf_counter()
        connection.execute(f"CREATE INDEX {name} ON {contender.table} USING {contender.method} "
                           f"(e {opclass}{columns}) {contender.options}")
        seconds = time.perf_counter() - began
    connection.remove_notice_handler(heard)
    size = connection.execute(f"SELECT pg_relation_size('{contender.schema}.{name}')").fetchone()[0]
    built = {"build_seconds": seconds, "index_bytes": size, "peak_mb": peak.kilobytes / 1024}
    # For example, that a graph no longer fits into memory, so that its build becomes slow.
    return built | ({"notices": notices} if notices else {})


def build(contender: Contender, data: datasets.Data) -> dict:
    connection = connect(contender.schema)
    connection.execute(f"DROP TABLE IF EXISTS {contender.table}")
    connection.execute(f"CREATE TABLE {contender.table} (id int, bucket int, topic int, "
                       f"e {data.kind}({data.rows.shape[1]}))")
    insert_rows(connection, contender.table, copied(0, data.rows, data))
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
