"""Indexes on a server with little memory: its buffers, its processes and the operating system's cache of its files
together have a quarter of the table's size. Most small servers run like this."""

import os
import time
from collections.abc import Callable
from copy import copy
from dataclasses import replace

import data as datasets
from contender import Contender, build, connect, nearest
from server import LittleMemory
from steps import median
from timing import Statement, Timed, encoded, recall

ROWS = int(float(os.environ.get("PRESSURE_ROWS", "300e3")))
EFFORTS = {"ivf": [0.9, 0.95, 0.98, 0.99], "hnsw": [20, 40, 80], "ivfflat": [10, 20, 40]}
# Rounds of all contenders and efforts in turn, each on a server that has just started.
ROUNDS = 3


def measure(present: list[Contender], data: datasets.Data, results: dict, save: Callable[[], None]) -> None:
    """Adds `pressure` to what each contender has. Rows beyond the data's are mixtures."""
    if all("pressure" in results.get(c.name, {}) for c in present):
        return
    part = datasets.part(data, datasets.enlarged(data.rows, ROWS)[:ROWS])
    everybody = [copy(c) for c in present]
    for contender in everybody:
        contender.table = f"{contender.schema}.{contender.method}_pressure_items"
        print(f"pressure: {contender.name}: {build(contender, part)['build_seconds']:.0f} s to build", flush=True)
    size, = connect(everybody[0].schema).execute("SELECT pg_table_size(%s::text::regclass)", (everybody[0].table,)).fetchone()
    points: dict[str, list[dict]] = {c.name: [] for c in everybody}
    for _ in range(ROUNDS):
        for contender, effort in ((c, e) for c in everybody for e in EFFORTS[c.method]):
            with LittleMemory(size // 4) as given:
                if given.refused:
                    print(f"pressure: left out: {given.refused}", flush=True)
                    return
                points[contender.name].append(asked(contender, part, effort))
    for contender in everybody:
        mine = points[contender.name]
        settled = [[p for p in mine if p["effort"] == e] for e in EFFORTS[contender.method]]
        results.setdefault(contender.name, {})["pressure"] = {
            "rows": ROWS, "table_bytes": size, "limit_bytes": size // 4, "search": [median(of) for of in settled]}
        connect(contender.schema).execute(f"DROP TABLE {contender.table}")
    save()


def asked(contender: Contender, data: datasets.Data, effort: float) -> dict:
    """One half of the queries fills the caches, the other is timed. None comes twice: users ask for other rows, too."""
    settings = [f"{contender.setting} = {effort}", "enable_seqscan = off"]
    statement = Statement(contender.schema, nearest(contender, data), settings)
    half = len(data.queries) // 2
    parameters = encoded(data.queries)
    for each in parameters[:half]:
        statement.ids(each)
    found, moments = [], [time.monotonic()]
    for each in parameters[half:]:
        found.append(statement.ids(each))
        moments.append(time.monotonic())
    timed = replace(data, queries=data.queries[half:])
    point = {"effort": effort, "recall": recall(timed, found, data.farthest[half:]), **Timed(found, moments).summary()}
    print(f"pressure: {contender.name}: {point}", flush=True)
    return point
