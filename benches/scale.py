"""Our index by the number of rows, as it is built: what the build takes, and what routing, memory, recall and the
first query of a connection come to."""

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

import data as datasets
import steps
from contender import Contender, connect, copied, create_index, insert_rows, nearest
from peak import anonymous
from timing import Statement, encoded, recall, timed
from upkeep import codes_read, state

SIZES = [int(float(n)) for n in os.environ.get("SCALE_ROWS", "100e3,300e3,1e6,2e6").split(",")]
TARGETS = (0.8, 0.9, 0.95, 0.99)
# Connections whose first query is timed, and queries of each of which codes and memory are counted.
CONNECTIONS, COUNTED = 10, 200
BATCH = 20_000
TABLE, INDEX = "scale_items", "scale_items_index"


def measure(present: list[Contender], data: datasets.Data, results: dict, save: Callable[[], None]) -> None:
    """Adds a point to our index's `scale` for each size that it does not have yet. Rows beyond the data's are mixtures
    of real ones (data.py)."""
    contender = next(c for c in present if c.method == "ivf")
    kept = results.setdefault(contender.name, {})
    missing = [n for n in sorted(SIZES) if all(p["rows"] != n for p in kept.get("scale", []))]
    if not missing:
        return
    ours = Contender(contender.name, contender.schema, contender.method, contender.options, contender.setting, [])
    ours.table = f"{contender.schema}.{TABLE}"
    floor = steps.floor(ours, data)["p50_ms"]
    have, values = 0, np.empty((len(data.queries), 0))
    # In a file: ten million rows need not fit into memory.
    kept_as = np.float16 if data.kind == "halfvec" else np.float32
    rows = np.memmap(tempfile.TemporaryFile(), kept_as, "w+", shape=(missing[-1], data.rows.shape[1]))
    make(ours, data)
    for size in missing:
        values = load(ours, data, rows, range(have, size), values)
        part = replace(data, rows=rows[:size], farthest=values.max(axis=1))
        have = size
        point = {"rows": size, "mixtures": max(size - len(data.rows), 0), "floor_ms": floor, **one(ours, part)}
        kept["scale"] = sorted([*kept.get("scale", []), point], key=lambda p: p["rows"])
        print(f"scale: {size} rows: {point}", flush=True)
        save()
    connect(ours.schema).execute(f"DROP TABLE {ours.table}")


def make(contender: Contender, data: datasets.Data) -> None:
    connection = connect(contender.schema)
    connection.execute(f"DROP TABLE IF EXISTS {contender.table}")
    connection.execute(f"CREATE TABLE {contender.table} (id int, bucket int, topic int, "
                       f"e {data.kind}({data.rows.shape[1]}))")


def load(contender: Contender, data: datasets.Data, table: np.ndarray, wanted: range, values: np.ndarray) -> np.ndarray:
    """Adds rows to the table, and to its copy here. `values` and the result: for each query, the values of the nearest
    rows of the table."""
    connection = connect(contender.schema)
    for first in range(wanted.start, wanted.stop, BATCH):
        end = min(first + BATCH, wanted.stop)
        table[first:end] = datasets.rows_from(data.rows, first, end - first)
        rows = table[first:end].astype(np.float32)
        insert_rows(connection, contender.table, copied(first, rows, data))
        values = np.concatenate([values, datasets.nearest_values(data.metric, rows, data.queries)], axis=1)
        values = np.partition(values, datasets.NEIGHBOURS - 1, axis=1)[:, : datasets.NEIGHBOURS]
    connection.execute(f"VACUUM ANALYZE {contender.table}")
    connection.execute("CHECKPOINT")
    return values


def one(contender: Contender, data: datasets.Data) -> dict:
    """A build, and what it is like; the index is dropped."""
    connection = connect(contender.schema)
    built = create_index(connection, contender, data, INDEX)
    built |= state(connection, contender, INDEX)
    searched = []
    for target in TARGETS:
        settings = [f"{contender.setting} = {target}", "enable_seqscan = off"]
        asked = timed(contender, data, settings, "", len(data.queries))
        searched.append({"effort": target, "recall": recall(data, asked.found, data.farthest), **asked.summary(),
                         "codes": codes_read(contender, data, settings, COUNTED)})
    single = timed(contender, data, ["ivf.probes = 1", "enable_seqscan = off"], "", len(data.queries))
    out = {**built, "search": searched, "one_list_ms": single.summary()["p50_ms"], **first_queries(contender, data)}
    connection.execute(f"DROP INDEX {contender.schema}.{INDEX}")
    return out


def first_queries(contender: Contender, data: datasets.Data) -> dict:
    """The first query of a connection, when all of the index is in memory, and what a backend keeps after some."""
    parameters = encoded(data.queries)
    first, kept = [], []
    for number in range(CONNECTIONS):
        statement = Statement(contender.schema, nearest(contender, data), ["enable_seqscan = off"])
        pid = statement.connection.info.backend_pid
        before, began = anonymous(pid), time.perf_counter()
        statement.ids(parameters[number % len(parameters)])
        first.append(1000 * (time.perf_counter() - began))
        for each in parameters[: COUNTED if number == 0 else 0]:
            statement.ids(each)
        if number == 0:
            kept.append(anonymous(pid) - before)
        statement.connection.close()
    return {"first_query_ms": float(np.median(first)), "backend_kb": kept[0]}
