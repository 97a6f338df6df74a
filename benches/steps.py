"""The steps of a run, each of which measures one contender."""

import os
import struct
import time
from collections.abc import Iterator

import numpy as np

import data as datasets
import server
from contender import (OPERATOR, Contender, binary, build, connect, copied, create_index, insert_rows, nearest,
                       order)
from report import SELECTIVITIES
from timing import concurrent, recall, timed, timed_sql

FULL = bool(os.environ.get("FULL"))
CONNECTIONS = int(os.environ.get("CONNECTIONS", "2"))


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
    latencies, emptied = [], True
    usual = [e for e in contender.efforts if e in (0.95, 20, 80)] or contender.efforts
    setting = f"{contender.setting} = {usual[-1]}"
    for query in data.queries[:8]:
        emptied &= server.restart()
        connection = connect(contender.schema)
        connection.execute(f"SET {setting}")
        connection.execute("SET enable_seqscan = off")
        began = time.perf_counter()
        connection.execute(nearest(contender, data), (query,)).fetchall()
        latencies.append(1000 * (time.perf_counter() - began))
    print(f"  {contender.name}: p50 {np.median(latencies):.0f} ms", flush=True)
    return {"p50_ms": float(np.median(latencies)), "os_cache_emptied": emptied}


def floor(contender: Contender, data: datasets.Data) -> dict:
    """What a query costs that takes the same parameter and returns ten rows by their primary key: below that no index
    can get."""
    connection = connect(contender.schema)
    table = f"{contender.schema}.floor_items"
    connection.execute(f"DROP TABLE IF EXISTS {table}")
    connection.execute(f"CREATE TABLE {table} (id int PRIMARY KEY)")
    connection.execute(f"INSERT INTO {table} SELECT generate_series(1, 100000)")
    connection.execute(f"VACUUM ANALYZE {table}")
    sql = f"SELECT id FROM {table} WHERE id BETWEEN 50001 AND 50010 AND %b IS NOT NULL"
    point = timed_sql(contender.schema, data, [], sql, len(data.queries)).summary()
    connection.execute(f"DROP TABLE {table}")
    print(f"  {contender.schema}: {point['qps']:.0f} queries/s, p50 {point['p50_ms']:.3f} ms", flush=True)
    return point


def search(contender: Contender, data: datasets.Data, known: dict[float, float]) -> Iterator[dict]:
    """One effort after the other, until nearly everything is found: a slow index would take minutes for the rest.
    `known` are recalls that were measured before."""
    for effort in contender.efforts:
        settings = [f"{contender.setting} = {effort}", "enable_seqscan = off"]
        one = timed(contender, data, settings, "", len(data.queries), effort in known)
        found = known.get(effort) or recall(data, one.found, data.farthest)
        point = {"effort": effort, "recall": found, **one.summary(),
                 "connections": CONNECTIONS, "qps_n": concurrent(contender, data, settings, CONNECTIONS)}
        print(f"  {contender.name} {effort}: recall {point['recall']:.4f}, {point['qps']:.0f} queries/s, "
              f"{point['qps_n']:.0f} at {CONNECTIONS} connections, p99 {point['p99_ms']:.2f} ms", flush=True)
        yield point
        if point["recall"] > 0.995:
            break


def median(points: list[dict]) -> dict:
    """Measures one setting in several rounds."""
    def of(key: str) -> float:
        return float(np.median([p[key] for p in points]))

    return points[0] | {key: of(key) for key in points[0] if key not in ("effort", "connections")}


def filtered(contender: Contender, data: datasets.Data) -> list[dict]:
    """Queries with a filter that lets pass a share of the rows. Ours has the columns in its index. With a B-tree on
    each column and then without any; the planner chooses."""
    connection = connect(contender.schema)
    if contender.method == "ivf":
        create_index(connection, contender, data, "filter_index", ", ".join(["", *datasets.FILTERS]))
        connection.execute(f"ANALYZE {contender.table}")
    out = filtered_queries(contender, data, True)
    name = contender.table.split(".")[1]
    for column in datasets.FILTERS:
        connection.execute(f"DROP INDEX IF EXISTS {contender.schema}.{name}_{column}_idx")
    out += filtered_queries(contender, data, False)
    if contender.method == "ivf":
        none = timed(contender, data, ["enable_sort = off"], "WHERE bucket < 0", min(len(data.queries), 100))
        if any(none.found):
            raise SystemExit(f"{contender.name}: rows that no filter lets pass")
        out.append({"column": "bucket", "btree": False, "share": 0, "effort": 0.95, "recall": 1.0, **none.summary()})
        print(f"  {contender.name}, no row passes: p50 {out[-1]['p50_ms']:.2f} ms, p99 {out[-1]['p99_ms']:.2f} ms", flush=True)
        connection.execute(f"DROP INDEX {contender.schema}.filter_index")
    for column in datasets.FILTERS:
        connection.execute(f"CREATE INDEX {name}_{column}_idx ON {contender.table} ({column})")
    return out


def filtered_queries(contender: Contender, data: datasets.Data, btree: bool) -> list[dict]:
    """Measures every filter column, share of rows and setting."""
    efforts = {"ivf": [0.9, 0.95, 0.98], "hnsw": [40, 80, 200], "ivfflat": [10, 20, 80]}[contender.method]
    iterative = {"ivf": [], "hnsw": ["hnsw.iterative_scan = strict_order"],
                 "ivfflat": ["ivfflat.iterative_scan = relaxed_order"]}[contender.method]
    values = {"bucket": datasets.buckets(0, len(data.rows)), "topic": data.topics(data.rows)}
    out = []
    for column in datasets.FILTERS:
        for share in SELECTIVITIES:
            limit = int(share * 1000)
            passing = data.rows[values[column] < limit]
            if len(passing) < datasets.NEIGHBOURS:
                continue
            # Without a B-tree a rare filter makes pgvector read the whole table.
            slow = not btree and contender.method != "ivf" and share < 0.05
            # With a hundred queries, recall is known to .01 only. Our index uses its default target.
            count = min(len(data.queries), 1000 if contender.method == "ivf" else 20 if slow else 100)
            farthest = datasets.tenth_nearest(data.metric, passing, data.queries[:count])
            for effort in efforts:
                settings = [*iterative, f"{contender.setting} = {effort}"]
                one = timed(contender, data, settings, f"WHERE {column} < {limit}", count)
                point = {"column": column, "btree": btree, "share": share, "effort": effort,
                         "recall": recall(data, one.found, farthest), **one.summary()}
                out.append(point)
                print(f"  {contender.name}, {column}, {'B-tree, ' if btree else ''}{share:.1%} pass, {effort}: "
                      f"recall {point['recall']:.3f}, {point['qps']:.0f} queries/s", flush=True)
    return out


def join(contender: Contender, data: datasets.Data) -> dict:
    """Queries a second when many of them are one statement's, and when each is a prepared statement: three rounds in
    turn, the median of each."""
    connection = connect(contender.schema)
    asked = f"{contender.schema}.asked"
    connection.execute(f"DROP TABLE IF EXISTS {asked}")
    connection.execute(f"CREATE TABLE {asked} (q {data.kind}({data.rows.shape[1]}))")
    with connection.cursor().copy(f"COPY {asked} FROM STDIN (FORMAT binary)") as copy:
        copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8))
        for value in binary(data.queries, data.kind):
            copy.write(struct.pack(">hi", 1, len(value)) + value)
        copy.write(struct.pack(">h", -1))
    connection.execute(f"VACUUM ANALYZE {asked}")
    connection.execute("SET enable_sort = off")
    sql = (f"SELECT count(*) FROM {asked}, LATERAL (SELECT id FROM {contender.table} "
           f"ORDER BY e {OPERATOR[data.metric]} q LIMIT 10) n")
    rates: dict[str, list[float]] = {"join": [], "single": []}
    for _ in range(4):
        began = time.perf_counter()
        connection.execute(sql)
        rates["join"].append(len(data.queries) / (time.perf_counter() - began))
        rates["single"].append(timed(contender, data, ["enable_seqscan = off"], "", len(data.queries)).summary()["qps"])
    connection.execute(f"DROP TABLE {asked}")
    # The first round warms the caches.
    out = {name: float(np.median(of[1:])) for name, of in rates.items()}
    out["ratio"] = out["join"] / out["single"]
    print(f"  {out}", flush=True)
    return out


def join_by_distance(contender: Contender, data: datasets.Data) -> dict:
    """Seconds for a join of 2,000 rows with the table by a distance within which a row has about two others.
    There is a search for each, or batches of as many rows as work_mem allows, without and with a second
    thread. Five rounds in turn, and the median of each."""
    connection = connect(contender.schema)
    table, asked, operator = contender.table, f"{contender.schema}.asked", OPERATOR[data.metric]
    connection.execute(f"DROP TABLE IF EXISTS {asked}")
    connection.execute(f"CREATE TABLE {asked} AS SELECT id, e FROM {table} WHERE id % {max(len(data.rows) // 2000, 1)} = 0")
    connection.execute(f"VACUUM ANALYZE {asked}")
    third = f"SELECT i.e {operator} a.e AS value FROM {table} i ORDER BY i.e {operator} a.e LIMIT 1 OFFSET 2"
    radius, = connection.execute(f"SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY value) FROM (SELECT * FROM {asked} "
                                 f"LIMIT 200) a, LATERAL ({third}) n").fetchone()
    sql = f"SELECT count(*) FROM {asked} a JOIN {table} i ON i.e {operator} a.e < {radius}"
    runs = {"one by one": ("off", 0, "4MB"), "batches, 4MB": ("on", 0, "4MB"), "batches, 20MB": ("on", 0, "20MB"),
            "batches, 20MB, two threads": ("on", 1, "20MB")}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    rows = set()
    for _ in range(5):
        for name, (batches, workers, memory) in runs.items():
            for setting in (f"ivf.join_batches = {batches}", f"max_parallel_workers_per_gather = {workers}",
                            f"work_mem = '{memory}'", "enable_seqscan = off"):
                connection.execute(f"SET {setting}")
            began = time.perf_counter()
            rows.add(connection.execute(sql).fetchone()[0])
            seconds[name].append(time.perf_counter() - began)
    asked_rows, = connection.execute(f"SELECT count(*) FROM {asked}").fetchone()
    connection.execute(f"DROP TABLE {asked}")
    if len(rows) != 1:
        raise RuntimeError(f"the ways do not agree: {rows}")
    out = {name: float(np.median(of)) for name, of in seconds.items()}
    out |= {"outer rows": asked_rows, "pairs": rows.pop()}
    print(f"  {out}", flush=True)
    return out


def graph(contender: Contender, data: datasets.Data) -> dict:
    """Seconds for the ten nearest other rows of every row: by one call, and by a lateral join of every twelfth row,
    times twelve. Three rounds in turn, and the median of each. Also the recall of both for every twelfth row."""
    connection = connect(contender.schema)
    connection.execute("SET enable_sort = off")
    table, index = contender.table, f"{contender.table}_index"
    near = f"(SELECT d.id FROM {table} d ORDER BY d.e {OPERATOR[data.metric]} c.e LIMIT {datasets.NEIGHBOURS + 1}) n"
    lateral = f"FROM (SELECT id, e FROM {table} WHERE id % 12 = 0) c, LATERAL {near}"
    every = f"FROM ivf_neighbour_graph('{index}', {datasets.NEIGHBOURS})"
    asked = {"lateral": (0, 12, f"SELECT count(*) {lateral}"), "graph": (0, 1, f"SELECT count(*) {every}"),
             "graph, two threads": (1, 1, f"SELECT count(*) {every}")}
    seconds: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(3):
        for name, (workers, times, sql) in asked.items():
            connection.execute(f"SET max_parallel_workers_per_gather = {workers}")
            began = time.perf_counter()
            connection.execute(sql)
            seconds[name].append(times * (time.perf_counter() - began))
    out = {name: float(np.median(of)) for name, of in seconds.items()}
    out |= {f"{name}, ratio": out["lateral"] / out[name] for name in asked if name != "lateral"}
    found = {"lateral": f"SELECT c.id, n.id {lateral} WHERE n.id <> c.id",
             "graph": f"SELECT a.id, b.id {every} g JOIN {table} a ON a.ctid = g.item JOIN {table} b ON b.ctid = g.neighbour "
                      f"WHERE a.id % 12 = 0"}
    for name, sql in found.items():
        out[f"{name}, recall"] = _recall_of_rows(data, np.array(connection.execute(sql).fetchall()))
    print(f"  {out}", flush=True)
    return out


def _recall_of_rows(data: datasets.Data, found: np.ndarray) -> float:
    """The share of the ten nearest other rows of each row that pairs of numbers of rows have."""
    asked, hits = np.unique(found[:, 0]), 0
    for part in np.array_split(asked, max(len(asked) // 1000, 1)):
        values = datasets.distances(data.metric, data.rows, data.rows[part])
        values[np.arange(len(part)), part] = np.inf
        farthest = np.partition(values, datasets.NEIGHBOURS - 1, axis=1)[:, datasets.NEIGHBOURS - 1]
        pairs = found[np.isin(found[:, 0], part)]
        place = np.searchsorted(part, pairs[:, 0])
        hits += int((values[place, pairs[:, 1]] <= farthest[place]).sum())
    return hits / (datasets.NEIGHBOURS * len(asked))


def column_cost(contender: Contender, data: datasets.Data) -> dict:
    """What a filter column of four bytes costs queries that do not use it: five rounds in turn. Each index is another
    build, with other lists, and calibrated anew: so many lists are read as a build needs at .95 with this many rows."""
    connection = connect(contender.schema)
    index = f"{contender.table.split('.')[1]}_index"
    rates: dict[str, list[float]] = {"without": [], "with": []}
    sizes = {}
    probes = max(1, round(len(data.rows) ** 0.5 / 11))
    for _ in range(5):
        for kind, columns in (("without", ""), ("with", ", bucket")):
            connection.execute(f"DROP INDEX IF EXISTS {contender.schema}.{index}")
            built = create_index(connection, contender, data, index, columns)
            sizes[kind] = built["index_bytes"]
            one = timed(contender, data, ["enable_seqscan = off", f"ivf.probes = {probes}"], "", len(data.queries))
            rates[kind].append(one.summary()["qps"])
    out = {"qps_ratio": float(np.median(rates["with"]) / np.median(rates["without"])),
           "bytes_per_row": (sizes["with"] - sizes["without"]) / len(data.rows)}
    print(f"  {out}", flush=True)
    return out


def exact(contender: Contender, data: datasets.Data) -> str:
    """Whether an exhaustive scan of our index returns what a sequential scan does, in its order."""
    connection = connect(contender.schema)
    sql = f"SELECT id, {order(data)} AS d FROM {contender.table} ORDER BY {order(data)}"

    def rows(*settings: str) -> list[tuple[int, float]]:
        with connection.transaction():
            for setting in settings:
                connection.execute(f"SET LOCAL {setting}")
            return connection.execute(sql, (query, query), prepare=False).fetchall()

    for query in data.queries[:5]:
        by_index = rows("enable_seqscan = off", "ivf.recall_target = 1")
        by_sort = rows("enable_indexscan = off")
        # Rows with equal values may come in any order.
        if [d for _, d in by_index] != [d for _, d in by_sort] or sorted(by_index) != sorted(by_sort):
            raise SystemExit(f"{contender.name}: an exhaustive scan is not a sequential scan")
    print(f"  {contender.name}: five exhaustive scans of {len(data.rows)} rows equal sequential scans", flush=True)
    return "equal"


def inserts(present: list[Contender], data: datasets.Data) -> dict[str, float]:
    """Rows a second into each built index, a hundred in each transaction: up to 20,000 rows or twenty seconds, all in turn."""
    connections = {c.name: connect(c.schema) for c in present}
    taken: dict[str, list[float]] = {c.name: [] for c in present}
    random = np.random.default_rng(1)
    noise = 0.01 * data.rows.std()
    for first in range(0, 20_000, 100):
        rows = data.rows[random.integers(0, len(data.rows), 100)]
        rows = rows + noise * random.standard_normal(rows.shape).astype(np.float32)
        sent = [b"".join(copied(len(data.rows) + first, rows, data))]
        for contender in present:
            if sum(taken[contender.name]) < 20:
                began = time.perf_counter()
                insert_rows(connections[contender.name], contender.table, sent)
                taken[contender.name].append(time.perf_counter() - began)
    return {name: 100 * len(times) / sum(times) for name, times in taken.items()}


def vacuum(contender: Contender, data: datasets.Data) -> float | None:
    """Seconds of a VACUUM after deleting 10 % (HNSW takes minutes on large tables: FULL=1)."""
    if contender.method == "hnsw" and len(data.rows) > 50_000 and not FULL:
        return None
    connection = connect(contender.schema)
    delete = f"DELETE FROM {contender.table} WHERE id % 10 = 3"
    if connection.execute(delete).rowcount == 0:
        # A run that was interrupted here has already deleted the rows, and its VACUUM has done a part of the work.
        build(contender, data)
        connection.execute(delete)
    began = time.perf_counter()
    connection.execute(f"VACUUM (INDEX_CLEANUP ON) {contender.table}")
    return time.perf_counter() - began
