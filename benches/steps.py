"""The steps of a run, each of which measures one contender."""

import os
import re
import struct
import subprocess
import time
from copy import copy
from multiprocessing import Barrier, Process, Queue
from pathlib import Path

import numpy as np

import data as datasets
from contender import (OPERATOR, Contender, binary, build, connect, create_index, insert_rows, nearest, order, recall,
                       timed)
from report import SELECTIVITIES

FULL = bool(os.environ.get("FULL"))


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
    """Queries with a filter that lets pass a share of the rows. Ours has the columns in its index. With a B-tree on
    each column and then without any; the planner chooses."""
    connection = connect(contender.schema)
    if contender.method == "ivf":
        create_index(connection, contender, data, "filter_index", ", ".join(["", *datasets.FILTERS]))
        connection.execute(f"ANALYZE {contender.table}")
    out = filtered_queries(contender, data, True)
    name = contender.table.split(".")[1]
    for column in datasets.FILTERS:
        connection.execute(f"DROP INDEX {contender.schema}.{name}_{column}_idx")
    out += filtered_queries(contender, data, False)
    for column in datasets.FILTERS:
        connection.execute(f"CREATE INDEX {name}_{column}_idx ON {contender.table} ({column})")
    if contender.method == "ivf":
        count = min(len(data.queries), 100)
        none = timed(contender, data, ["enable_sort = off", "enable_bitmapscan = off"], "WHERE bucket < 0", count)
        out.append({"column": "bucket", "btree": True, "share": 0, "effort": 0.95, "recall": 1.0, **none.summary()})
        connection.execute(f"DROP INDEX {contender.schema}.filter_index")
    return out


def filtered_queries(contender: Contender, data: datasets.Data, btree: bool) -> list[dict]:
    """Every column, share and effort."""
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
            # Recall over a hundred queries is known to a hundredth only; ours is promised.
            count = min(len(data.queries), 1000 if contender.method == "ivf" else 20 if slow else 100)
            farthest = datasets.tenth_nearest(data.metric, passing, data.queries[:count])
            for effort in efforts:
                settings = [*iterative, f"{contender.setting} = {effort}"]
                one = timed(contender, data, settings, f"WHERE {column} < {limit}", count)
                point = {"column": column, "btree": btree, "share": share, "effort": effort,
                         "recall": recall(data, one.found, farthest), **one.summary()}
                out.append(point)
                print(f"  {contender.name}, {column}, {'B-tree, ' if btree else ''}{share:.1%} pass, {effort}: recall {point['recall']:.3f}, "
                      f"{point['qps']:.0f} queries/s", flush=True)
    return out


def join(contender: Contender, data: datasets.Data) -> dict:
    """Queries a second when many of them are one statement's, and when each is a prepared statement: three rounds in
    turn, the median of each."""
    connection = connect(contender.schema)
    connection.execute(f"DROP TABLE IF EXISTS {contender.schema}.asked")
    connection.execute(f"CREATE TABLE {contender.schema}.asked (q {data.kind}({data.rows.shape[1]}))")
    with connection.cursor().copy(f"COPY {contender.schema}.asked FROM STDIN (FORMAT binary)") as copy:
        copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8))
        for value in binary(data.queries, data.kind):
            copy.write(struct.pack(">hi", 1, len(value)) + value)
        copy.write(struct.pack(">h", -1))
    connection.execute(f"VACUUM ANALYZE {contender.schema}.asked")
    connection.execute("SET enable_seqscan = off")
    sql = (f"SELECT count(*) FROM {contender.schema}.asked, LATERAL (SELECT id FROM {contender.table} "
           f"ORDER BY e {OPERATOR[data.metric]} q LIMIT 10) n")
    rates: dict[str, list[float]] = {"join": [], "single": []}
    for _ in range(4):
        began = time.perf_counter()
        connection.execute(sql)
        rates["join"].append(len(data.queries) / (time.perf_counter() - began))
        rates["single"].append(timed(contender, data, ["enable_seqscan = off"], "", len(data.queries)).summary()["qps"])
    # The first round is for the caches.
    out = {name: float(np.median(of[1:])) for name, of in rates.items()}
    out["ratio"] = out["join"] / out["single"]
    print(f"  {out}", flush=True)
    return out


def column_cost(contender: Contender, data: datasets.Data) -> dict:
    """What a filter column of four bytes costs queries that do not use it: three rounds in turn."""
    connection = connect(contender.schema)
    index = f"{contender.table.split('.')[1]}_index"
    rates: dict[str, list[float]] = {"without": [], "with": []}
    sizes = {}
    for _ in range(3):
        for kind, columns in (("without", ""), ("with", ", bucket")):
            connection.execute(f"DROP INDEX IF EXISTS {contender.schema}.{index}")
            built = create_index(connection, contender, data, index, columns)
            sizes[kind] = built["index_bytes"]
            one = timed(contender, data, ["enable_seqscan = off"], "", len(data.queries))
            rates[kind].append(one.summary()["qps"])
    out = {"qps_ratio": float(np.median(rates["with"]) / np.median(rates["without"])),
           "bytes_per_row": (sizes["with"] - sizes["without"]) / len(data.rows)}
    print(f"  {out}", flush=True)
    return out


def plans(contender: Contender, data: datasets.Data) -> list[dict]:
    """The plan that the planner chooses beside every other, by size, share of the rows that pass, and LIMIT."""
    forced = {
        "chosen": [],
        "ivf": ["enable_seqscan = off", "enable_bitmapscan = off", "enable_sort = off"],
        "B-tree, sort": ["enable_indexscan = off", "enable_seqscan = off"],
        "table, sort": ["enable_indexscan = off", "enable_bitmapscan = off"],
    }
    out = []
    for size in sorted({1000, 10_000, len(data.rows)}):
        part = datasets.part(data, data.rows[:size])
        one = copy(contender)
        one.table = f"{contender.schema}.plan_items"
        build(one, part)
        connection = connect(one.schema)
        connection.execute(f"DROP INDEX {one.schema}.plan_items_index")
        create_index(connection, one, part, "plan_index", ", bucket")
        connection.execute(f"VACUUM ANALYZE {one.table}")
        for limit in (10, 100, 1000):
            for share in (None, 0.5, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0):
                where = "" if share is None else f"WHERE bucket < {int(share * 1000)}"
                times: dict[str, list[float]] = {name: [] for name in forced}
                # In turn, so that what else the machine does falls on all.
                for query in part.queries[:9]:
                    for name, settings in forced.items():
                        for setting in ("RESET ALL", f"SET search_path = {one.schema}, public",
                                        *(f"SET {s}" for s in settings)):
                            connection.execute(setting)
                        sql = f"/* {name} */ {nearest(one, part, where, limit)}"
                        # Once for the caches: the next plan finds them as this one leaves them.
                        connection.execute(sql, (query,), prepare=True).fetchall()
                        began = time.perf_counter()
                        connection.execute(sql, (query,), prepare=True).fetchall()
                        times[name].append(1000 * (time.perf_counter() - began))
                medians = {name: float(np.median(ms[2:])) for name, ms in times.items()}
                best = min(ms for name, ms in medians.items() if name != "chosen")
                out.append({"rows": size, "limit": limit, "share": share, "ms": medians,
                            "ratio": medians["chosen"] / best})
        connection.execute(f"DROP TABLE {one.table}")
    good = sum(cell["ratio"] <= 1.5 for cell in out)
    print(f"  {good} of {len(out)} cells within 1.5 times the best plan", flush=True)
    return out


def types(contender: Contender, data: datasets.Data) -> list[dict]:
    """Nanoseconds of a call of the types' functions beside pgvector's: three rounds in turn, the least of each. The
    values are plain in memory; what the loop costs without the call is taken off."""
    calls = {
        "parse": "t::vector", "print": "v::text", "send": "vector_send(v)", "from real[]": "a::vector",
        "to real[]": "v::real[]", "to halfvec": "v::halfvec", "from halfvec": "h::vector",
        "<->": "v <-> w", "<#>": "v <#> w", "<=>": "v <=> w", "<+>": "v <+> w", "=": "v = v", "+": "v + w",
        "l2_normalize": "l2_normalize(v)", "binary_quantize": "binary_quantize(v)",
        "halfvec parse": "t::halfvec", "halfvec print": "h::text", "halfvec <->": "h <-> k", "halfvec <#>": "h <#> k",
        "halfvec <=>": "h <=> k", "halfvec <+>": "h <+> k", "sparsevec <->": "s <-> r", "sparsevec <#>": "s <#> r",
        "bit <~>": "b <~> c", "bit <%>": "b <%> c",
    }
    connections = {schema: connect(schema) for schema in ("ours", "theirs")}
    out = []
    for dims in (3, 128, 768, 1536):
        # Many rows, so that no branch is predicted from the row before; of the sparse ones a tenth is not zero.
        random = np.random.default_rng(dims)

        def texts(kept: np.ndarray) -> list[str]:
            rows = random.standard_normal(kept.shape).astype(np.float32)
            return ["[" + ",".join(str(x) if k else "0" for x, k in zip(*row)) + "]" for row in zip(rows, kept)]

        full, thin = texts(np.ones((101, dims), bool)), texts(random.random((101, dims)) < 0.1)
        # The second operand is a constant.
        operands = {"w": f"'{full[100]}'::vector", "k": f"'{full[100]}'::halfvec", "r": f"'{thin[100]}'::vector::sparsevec",
                    "c": f"binary_quantize('{full[100]}'::vector)"}
        columns = {"t": "t", "v": "t::vector", "a": "t::vector::real[]", "h": "t::halfvec",
                   "s": "p::vector::sparsevec", "b": "binary_quantize(t::vector)"}
        for connection in connections.values():
            for column, expression in columns.items():
                connection.execute(f"DROP TABLE IF EXISTS types_{column}")
                connection.execute(f"CREATE TEMP TABLE types_{column} AS SELECT {expression} AS {column} FROM (SELECT) x, "
                                   "unnest('{}'::text[], '{}'::text[]) y (t, p)")
                # Texts are put together from TOAST, the same for both; all else is plain.
                storage = "EXTERNAL" if column == "t" else "PLAIN"
                connection.execute(f"ALTER TABLE types_{column} ALTER {column} SET STORAGE {storage}")
                connection.execute(f"INSERT INTO types_{column} SELECT {expression} FROM "
                                   "unnest(%s::text[], %s::text[]) x (t, p)", (full[:100], thin[:100]))
        count = max(5000, 6_000_000 // (dims + 100)) // 100

        def seconds(schema: str, call: str) -> float:
            column = re.search(r"\b[tvahsb]\b", call)[0]
            for name, operand in operands.items():
                call = re.sub(rf"\b{name}\b", operand, call)
            sql = f"SELECT count({call}) FROM generate_series(1, {count}), types_{column}"
            began = time.perf_counter()
            connections[schema].execute(sql)
            return time.perf_counter() - began

        for name, call in calls.items():
            ns = {schema: [] for schema in connections}
            for _ in range(3):
                for schema in connections:
                    idle = seconds(schema, re.search(r"\b[tvahsb]\b", call)[0])
                    ns[schema].append(1e9 * (seconds(schema, call) - idle) / (100 * count))
            out.append({"call": name, "dims": dims} | {schema: max(min(times), 1.0) for schema, times in ns.items()})
    slower = [f"{c['call']} at {c['dims']}" for c in out if c["ours"] > 1.1 * c["theirs"]]
    print(f"  slower than pgvector's by more than a tenth: {', '.join(slower) or 'none'}", flush=True)
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
        insert_rows(connection, contender.table, len(data.rows) + i, rows[i : i + 100], data)
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
