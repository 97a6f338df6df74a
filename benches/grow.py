"""How an index lives: it grows from nothing or from a small build, shrinks, is filled again, and its rows are
replaced by others, beside autovacuum and a connection that asks all the time. What comes of it is compared with
a fresh build on a copy of the table, asked in turn."""

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import psycopg

import data as datasets
from contender import Contender, connect, contenders, copied, insert_rows
from timing import recall, timed
from upkeep import Autovacuum, LOOKS, NAPTIME, Queries, autovacuum, codes_read, latencies, state

SCENARIOS = os.environ.get("GROW", "empty,random,sorted,topics,refill,churn").split(",")
# Rows of the small build.
START = int(os.environ.get("START", "10000"))
BATCH = 1000
# The most rows that are inserted in a second while an index grows; 0: as fast as it goes.
RATE = float(os.environ.get("RATE", "0"))
TARGET = 0.95
TOPICS = 45
# Rounds of churn, the share of the rows that each replaces, and the pause after it: autovacuum looks once.
CHURNS, SHARE = 10, 0.2
PAUSE = LOOKS + 5
# Numbers of rows at which codes are counted, and queries of each count.
STOPS, COUNTED = 10, 50
# Rounds of the comparison with a fresh build, both in turn.
ROUNDS = 3

GROWN, FRESH, OTHER = "grown_items", "fresh_items", "other_items"


def measure(present: list[Contender], data: datasets.Data, results: dict, save: Callable[[], None]) -> None:
    """Adds each scenario that a contender does not have yet: ours all, HNSW the growth from nothing."""
    waiting = [(c, s) for c in present for s in SCENARIOS
               if (c.method == "ivf" or (c.method, s) == ("hnsw", "empty"))
               and s not in results.setdefault(c.name, {}).get("grow", {})]
    if not waiting:
        return
    with autovacuum():
        bare = bare_inserts(data)
        for contender, scenario in waiting:
            print(f"grow: {contender.name}, {scenario}", flush=True)
            began = time.perf_counter()
            outcome = SCENARIO[scenario](contender, data, bare)
            outcome |= {"naptime": NAPTIME, "rate": RATE, "minutes": (time.perf_counter() - began) / 60}
            results[contender.name].setdefault("grow", {})[scenario] = outcome
            print(f"  {outcome['compared']}\n  {outcome['minutes']:.1f} minutes", flush=True)
            save()


class Bench:
    """One contender's tables of a scenario. `data` has the rows in the order in which they come, and a row's number
    is its place."""

    def __init__(self, contender: Contender, data: datasets.Data):
        self.data = data
        self.connection = connect(contender.schema)
        self.known = next(c for c in contenders(len(data.rows)) if c.name == contender.name)
        effort = TARGET if contender.method == "ivf" else 80
        self.settings = [f"{contender.setting} = {effort}", "enable_seqscan = off"]

    def at(self, table: str) -> Contender:
        c = self.known
        other = Contender(c.name, c.schema, c.method, c.options, c.setting, c.efforts)
        other.table = f"{c.schema}.{table}"
        return other

    def make(self, table: str, tended: bool) -> Contender:
        """An empty table; autovacuum leaves one that is not tended alone."""
        contender = self.at(table)
        create(self.connection, contender.table, self.data, tended)
        return contender

    def index(self, contender: Contender) -> dict:
        """Builds the index."""
        name = index_of(contender)
        began = time.perf_counter()
        self.connection.execute(
            f"CREATE INDEX {name} ON {contender.table} USING {contender.method} "
            f"(e {self.data.kind}_{self.data.metric}_ops) {contender.options}")
        seconds = time.perf_counter() - began
        return {"build_seconds": seconds, **state(self.connection, contender, name)}

    def copy(self, source: Contender) -> tuple[Contender, dict]:
        """A fresh build on a copy of a table."""
        fresh = self.make(FRESH, tended=False)
        self.connection.execute(f"INSERT INTO {fresh.table} TABLE {source.table}")
        self.connection.execute(f"VACUUM ANALYZE {fresh.table}")
        return fresh, self.index(fresh)

    def insert(self, contender: Contender, first: int, end: int, rate: float = 0) -> float:
        """Inserts rows, a thousand in each transaction; the seconds that the server took."""
        connection, seconds, opened = connect(contender.schema), 0.0, time.perf_counter()
        for start in range(first, end, BATCH):
            rows = [b"".join(copied(start, self.data.rows[start : min(start + BATCH, end)], self.data))]
            began = time.perf_counter()
            insert_rows(connection, contender.table, rows)
            seconds += time.perf_counter() - began
            if rate > 0:
                time.sleep(max(opened + (start + BATCH - first) / rate - time.perf_counter(), 0))
        # Closed, because a connection reports to the statistics when it ends.
        connection.close()
        return seconds

    def wal(self) -> int:
        return self.connection.execute("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint").fetchone()[0]

    def asked(self, contender: Contender, farthest: np.ndarray) -> dict:
        """Speed, recall and codes of an index. For an index that is not ours, of each effort up to enough recall."""
        if contender.method == "ivf":
            one = timed(contender, self.data, self.settings, "", len(self.data.queries))
            codes = codes_read(contender, self.data, self.settings, 4 * COUNTED)
            return {"recall": recall(self.data, one.found, farthest), "codes": codes, **one.summary()}
        for effort in contender.efforts:
            settings = [f"{contender.setting} = {effort}", "enable_seqscan = off"]
            one = timed(contender, self.data, settings, "", len(self.data.queries))
            point = {"effort": effort, "recall": recall(self.data, one.found, farthest), **one.summary()}
            if point["recall"] >= TARGET:
                break
        return point

    def compared(self, grown: Contender, fresh: Contender, farthest: np.ndarray) -> dict:
        """Both indexes, asked in turn."""
        points: dict[str, list[dict]] = {"grown": [], "fresh": []}
        for _ in range(ROUNDS):
            points["grown"].append(self.asked(grown, farthest))
            points["fresh"].append(self.asked(fresh, farthest))
        out = {who: {key: float(np.median([p[key] for p in of])) for key in of[0]} for who, of in points.items()}
        for who, contender in (("grown", grown), ("fresh", fresh)):
            out[who] |= state(self.connection, contender, index_of(contender))
        return out

    def drop(self) -> None:
        for table in (GROWN, FRESH, OTHER):
            self.connection.execute(f"DROP TABLE IF EXISTS {self.at(table).table}")
        self.connection.close()


def index_of(contender: Contender) -> str:
    return f"{contender.table.split('.')[1]}_index"


def create(connection: psycopg.Connection, table: str, data: datasets.Data, tended: bool) -> None:
    connection.execute(f"DROP TABLE IF EXISTS {table}")
    settings = "" if tended else "WITH (autovacuum_enabled = off, toast.autovacuum_enabled = off)"
    connection.execute(f"CREATE TABLE {table} (id int, bucket int, topic int, "
                       f"e {data.kind}({data.rows.shape[1]})) {settings}")


def bare_inserts(data: datasets.Data) -> dict:
    """What inserts into a table without an index take: bytes of WAL of a row, rows a second."""
    bench = Bench(next(c for c in contenders(len(data.rows)) if c.method == "ivf"), data)
    table = bench.make(OTHER, tended=False)
    count = min(len(data.rows), 20_000)
    bench.connection.execute("CHECKPOINT")
    before = bench.wal()
    seconds = bench.insert(table, 0, count)
    out = {"wal_per_row": (bench.wal() - before) / count, "rows_per_second": count / seconds}
    bench.drop()
    return out


def grown(contender: Contender, data: datasets.Data, bare: dict, start: int) -> dict:
    """An index built on `start` rows, to which the others are inserted."""
    bench = Bench(contender, data)
    rows = len(data.rows)
    fresh = bench.make(FRESH, tended=False)
    bench.insert(fresh, 0, rows)
    bench.connection.execute(f"VACUUM ANALYZE {fresh.table}")
    out: dict = {"rows": rows, "start": start, "bare": bare, "fresh_build": bench.index(fresh)}
    alone = Queries(fresh, data, bench.settings)
    time.sleep(5)
    out["fresh_alone"] = latencies(alone.stop())
    if contender.method == "ivf":
        out["untended"] = untended(bench, fresh, start, bare)
    out["growth"] = growth(bench, start, bare)
    upkeep = out["growth"]["upkeep"]
    print(f"  grown: {out['growth']['rows_per_second']:.0f} rows/s, {len(upkeep['vacuums'])} vacuums, "
          f"{upkeep['renewals']} times new lists, settled {out['growth']['settled_seconds']:.0f} s after the last row",
          flush=True)
    out["compared"] = bench.compared(bench.at(GROWN), fresh, data.farthest)
    if contender.method == "ivf":
        out["fresh_codes"] = fresh_codes(bench, [n for n, _ in out["growth"]["codes"]])
    bench.drop()
    return out


def growth(bench: Bench, start: int, bare: dict) -> dict:
    """The growth itself, beside autovacuum and queries."""
    table = begun(bench, GROWN, start, tended=True)
    rows, ours = len(bench.data.rows), table.method == "ivf"
    watch, asking = Autovacuum(table, index_of(table)), Queries(table, bench.data, bench.settings)
    bench.connection.execute("CHECKPOINT")
    wal, seconds, codes = bench.wal(), 0.0, []
    began, first = time.monotonic(), start
    for stop in stops(start, rows):
        seconds += bench.insert(table, first, stop, RATE)
        first = stop
        if ours:
            codes.append([stop, codes_read(table, bench.data, bench.settings, COUNTED)])
    ended = time.monotonic()
    during = asking.stop()
    settled = watch.settled(ended)
    upkeep = watch.stop()
    for vacuum in upkeep["vacuums"]:
        vacuum |= {"began": vacuum["began"] - began, "ended": vacuum["ended"] - began}
    return {"rows_per_second": (rows - start) / seconds, "seconds": ended - began, "codes": codes,
            "index_wal_per_row": (bench.wal() - wal) / (rows - start) - bare["wal_per_row"],
            "latencies": latencies(during), "settled_seconds": settled, "upkeep": upkeep}


def begun(bench: Bench, name: str, start: int, tended: bool) -> Contender:
    """A table with the first rows, and the index built on them."""
    table = bench.make(name, tended)
    bench.insert(table, 0, start)
    if start > 0:
        bench.connection.execute(f"VACUUM ANALYZE {table.table}")
    bench.index(table)
    return table


def stops(start: int, rows: int) -> list[int]:
    """Numbers of rows at which growth is looked at: a like share more at each."""
    sizes = np.geomspace(max(start, rows / 100, BATCH), rows, STOPS + 1)[1:]
    return [int(n) for n in np.unique(sizes.round())]


def untended(bench: Bench, fresh: Contender, start: int, bare: dict) -> dict:
    """The same inserts into an index that nothing tends, while the fresh one is asked: what inserts cost without
    maintenance, and queries beside inserts. Then what a VACUUM takes that makes new lists for it."""
    table = begun(bench, OTHER, start, tended=False)
    rows = len(bench.data.rows)
    asking = Queries(fresh, bench.data, bench.settings)
    bench.connection.execute("CHECKPOINT")
    wal = bench.wal()
    seconds = bench.insert(table, start, rows)
    out = {"rows_per_second": (rows - start) / seconds, "latencies": latencies(asking.stop()),
           "index_wal_per_row": (bench.wal() - wal) / (rows - start) - bare["wal_per_row"],
           "codes": codes_read(table, bench.data, bench.settings, COUNTED)}
    # After the second one the pages of the earlier lists are free, and the file is shorter.
    out["vacuum"], out["vacuum_again"] = vacuumed(bench, table), vacuumed(bench, table)
    bench.connection.execute(f"DROP TABLE {table.table}")
    return out


def vacuumed(bench: Bench, table: Contender) -> dict:
    """A VACUUM, its WAL, and the rows for which it made new lists."""
    before = state(bench.connection, table, index_of(table))
    wal, began = bench.wal(), time.perf_counter()
    bench.connection.execute(f"VACUUM (INDEX_CLEANUP ON) {table.table}")
    seconds, written = time.perf_counter() - began, bench.wal() - wal
    after = state(bench.connection, table, index_of(table))
    renewed = after["built_rows"] if after["built_rows"] != before["built_rows"] else 0
    return {"seconds": seconds, "wal_bytes": written, "renewed_rows": renewed, **after}


def fresh_codes(bench: Bench, sizes: Iterable[int]) -> list[list]:
    """Codes that fresh builds on the first rows read."""
    table = bench.make(OTHER, tended=False)
    out, have = [], 0
    for size in sizes:
        bench.insert(table, have, size)
        have = size
        bench.index(table)
        out.append([size, codes_read(table, bench.data, bench.settings, COUNTED)])
        bench.connection.execute(f"DROP INDEX {table.schema}.{index_of(table)}")
    return out


def refill(contender: Contender, data: datasets.Data, _: dict) -> dict:
    """Nine of ten rows are deleted, and come again after two VACUUMs."""
    bench = Bench(contender, data)
    table = begun(bench, GROWN, len(data.rows), tended=True)
    out: dict = {"rows": len(data.rows), "built": state(bench.connection, table, index_of(table))}
    left = np.arange(len(data.rows)) % 10 == 0
    bench.connection.execute(f"DELETE FROM {table.table} WHERE id % 10 <> 0")
    out["vacuums"] = [vacuumed(bench, table), vacuumed(bench, table)]
    farthest = datasets.tenth_nearest(data.metric, data.rows[left], data.queries)
    out["shrunk"] = bench.compared(table, bench.copy(table)[0], farthest)
    print(f"  shrunk: {out['shrunk']}", flush=True)
    watch = Autovacuum(table, index_of(table))
    seconds = again(bench, table, np.flatnonzero(~left))
    out["settled_seconds"] = watch.settled(time.monotonic())
    out["upkeep"] = watch.stop()
    out["rows_per_second"] = int((~left).sum()) / seconds
    out["compared"] = bench.compared(table, bench.copy(table)[0], data.farthest)
    bench.drop()
    return out


def again(bench: Bench, table: Contender, ids: np.ndarray) -> float:
    """Inserts these rows again, with their numbers; the seconds that the server took."""
    connection, seconds = connect(table.schema), 0.0
    for some in np.array_split(ids, max(len(ids) // BATCH, 1)):
        parts = [part for i in some for part in row(int(i), bench.data)]
        began = time.perf_counter()
        insert_rows(connection, table.table, [HEAD, *parts, TAIL])
        seconds += time.perf_counter() - began
    connection.close()
    return seconds


HEAD, TAIL = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"


def row(number: int, data: datasets.Data) -> Iterable[bytes]:
    """One row of COPY, without the head and the tail."""
    return list(copied(number, data.rows[number : number + 1], data))[1:-1]


def churn(contender: Contender, data: datasets.Data, _: dict) -> dict:
    """A third of the rows, topic after topic: each round deletes the fifth that came first, and inserts as many of
    the topics that follow."""
    bench = Bench(contender, by_topic(data))
    window = int(len(data.rows) / (1 + CHURNS * SHARE))
    step = int(window * SHARE)
    table = begun(bench, GROWN, window, tended=True)
    out: dict = {"rows": window, "replaced": step, "rounds": []}
    watch = Autovacuum(table, index_of(table))
    for number in range(CHURNS):
        bench.connection.execute(f"DELETE FROM {table.table} WHERE id < {(number + 1) * step}")
        seconds = bench.insert(table, window + number * step, window + (number + 1) * step)
        time.sleep(PAUSE)
        codes = codes_read(table, bench.data, bench.settings, COUNTED)
        now = state(bench.connection, table, index_of(table))
        out["rounds"].append({"rows_per_second": step / seconds, "codes": codes, **now})
    out["settled_seconds"] = watch.settled(time.monotonic())
    out["upkeep"] = watch.stop()
    kept = bench.data.rows[CHURNS * step : CHURNS * step + window]
    farthest = datasets.tenth_nearest(data.metric, kept, data.queries)
    out["compared"] = bench.compared(table, bench.copy(table)[0], farthest)
    bench.drop()
    return out


def in_order(data: datasets.Data, order: np.ndarray) -> datasets.Data:
    return replace(data, rows=np.ascontiguousarray(data.rows[order]))


def by_topic(data: datasets.Data) -> datasets.Data:
    """Cluster after cluster of k-means, in the order of their means' first principal component."""
    random = np.random.default_rng(5)
    sample = data.rows[random.choice(len(data.rows), min(len(data.rows), 20_000), replace=False)]
    means = sample[:TOPICS].copy()
    for _ in range(10):
        nearest = np.argmin(datasets.distances("l2", means, sample), axis=1)
        means = np.stack([sample[nearest == i].mean(axis=0) if (nearest == i).any() else means[i]
                          for i in range(TOPICS)])
    means = means[np.argsort(means @ data.direction)]
    topics = np.concatenate([np.argmin(datasets.distances("l2", means, data.rows[i : i + 10_000]), axis=1)
                             for i in range(0, len(data.rows), 10_000)])
    return in_order(data, np.argsort(topics, kind="stable"))


SCENARIO: dict[str, Callable[[Contender, datasets.Data, dict], dict]] = {
    "empty": lambda c, d, bare: grown(c, d, bare, 0),
    "random": lambda c, d, bare: grown(c, d, bare, START),
    "sorted": lambda c, d, bare: grown(c, in_order(d, np.argsort(d.rows @ d.direction)), bare, START),
    "topics": lambda c, d, bare: grown(c, by_topic(d), bare, START),
    "refill": refill,
    "churn": churn,
}
