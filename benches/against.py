"""The two halves of against.sh: `load` makes the table and its index on the server that libpq's variables name,
`compare` asks each query of two servers in turn and prints how many times as fast the new one is."""

import os
import sys
import time

import numpy as np
import psycopg

import data as datasets
from contender import build, contenders, nearest
from timing import Statement, encoded, recall

COUNT = int(os.environ.get("ASKED", "300"))
ROUNDS = int(os.environ.get("ROUNDS", "12"))
TARGETS = os.environ.get("TARGETS", ".95,.99").split(",")
# Name, condition, further settings.
SHAPES = [("no filter", "", ["enable_seqscan = off"]),
          ("filter column, half of the rows pass", "WHERE bucket < 500", ["enable_sort = off"]),
          ("filter column, one in a hundred passes", "WHERE bucket < 10", ["enable_sort = off"]),
          ("opaque filter, one in three passes", "WHERE id % 3 = 0", ["enable_seqscan = off", "enable_sort = off"])]


def ours(data: datasets.Data):
    return next(c for c in contenders(len(data.rows)) if c.method == "ivf")


def load() -> None:
    data = datasets.load()
    with psycopg.connect(autocommit=True) as connection:
        connection.execute("CREATE SCHEMA IF NOT EXISTS ours")
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector_search SCHEMA ours")
    contender = ours(data)
    print(build(contender, data), flush=True)
    with psycopg.connect(autocommit=True) as connection:
        connection.execute(f"CREATE INDEX with_filter ON {contender.table} USING ivf "
                           f"(e ours.{data.kind}_{data.metric}_ops, bucket)")
        for column in datasets.FILTERS:
            connection.execute(f"DROP INDEX IF EXISTS ours.ivf_items_{column}_idx")
        connection.execute(f"VACUUM ANALYZE {contender.table}")
        connection.execute("CHECKPOINT")


def statement(host: str, sql: str, settings: list[str]) -> Statement:
    os.environ["PGHOST"] = host
    return Statement("ours", sql, settings)


def once(statement: Statement, parameter: bytes) -> float:
    began = time.perf_counter()
    statement.run_awake(parameter)
    return time.perf_counter() - began


def compare_shape(data: datasets.Data, where: str, settings: list[str]) -> dict:
    """Queries per second of both servers, from least times; how often both found the same rows."""
    sql = nearest(ours(data), data, where)
    sides = [statement(os.environ[host], sql, settings) for host in ("OLD_HOST", "NEW_HOST")]
    parameters = encoded(data.queries[:COUNT])
    found = [[side.ids(p) for p in parameters] for side in sides]
    least = np.full((2, len(parameters)), np.inf)
    for number in range(ROUNDS):
        for i, parameter in enumerate(parameters):
            # The server that is asked first has colder caches, so the order alternates.
            for which in ((0, 1), (1, 0))[(number + i) % 2]:
                least[which, i] = min(least[which, i], once(sides[which], parameter))
    old, new = least.sum(axis=1)
    same = np.mean([a == b for a, b in zip(*found)])
    out = {"old": COUNT / old, "new": COUNT / new, "ratio": old / new, "same": float(same)}
    if not where:
        farthest = data.farthest[:COUNT]
        asked = datasets.Data(**(vars(data) | {"queries": data.queries[:COUNT]}))
        out["recalls"] = [recall(asked, f, farthest) for f in found]
    return out


def compare() -> None:
    data = datasets.load()
    for target in TARGETS:
        for name, where, settings in SHAPES:
            point = compare_shape(data, where, [f"ivf.recall_target = {target}", *settings])
            recalls = " recall " + " : ".join(f"{r:.4f}" for r in point["recalls"]) if "recalls" in point else ""
            print(f"{target}, {name}: {point['ratio']:.3f} times as fast ({point['old']:.0f} : {point['new']:.0f} "
                  f"queries/s), same rows for {point['same']:.1%} of the queries{recalls}", flush=True)


if __name__ == "__main__":
    {"load": load, "compare": compare}[sys.argv[1]]()
