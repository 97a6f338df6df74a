"""How queries are timed. The client is libpq with parameters that were encoded before, results in binary, and no
more Python in the loop than a call and a look at the clock: psycopg's own `execute` takes several times as long,
which would be a fourth of our query. One connection alone does not sleep while it waits: a virtual processor that sleeps for
longer than its host's patience (.2 ms with KVM) has to be put on a real one again, which takes a tenth of a millisecond and more,
and what a query of .3 ms and one of 1 ms have in common then hides what they differ in. The same for all contenders."""

import itertools
import multiprocessing
import struct
import time
from dataclasses import dataclass

import numpy as np
from psycopg.pq import ExecStatus, Format

import data as datasets
from contender import Contender, connect, nearest

BINARY = Format.BINARY
# Seconds for which queries are repeated, and the least number of queries.
SECONDS = 2.0
LEAST = 100


class Statement:
    """A prepared statement with one parameter, usually a vector, on a connection of its own."""

    def __init__(self, schema: str, sql: str, settings: list[str], parameter: str = "vector"):
        self.connection = connect(schema)
        for setting in settings:
            self.connection.execute(f"SET {setting}")
        of, = self.connection.execute("SELECT %s::regtype::oid", (parameter,)).fetchone()
        self._check(self.connection.pgconn.prepare(b"timed", sql.replace("%b", "$1").encode(), [of]))

    def _check(self, result):
        if result.status not in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
            raise RuntimeError(result.error_message.decode(errors="replace"))
        return result

    def ids(self, parameter: bytes) -> list[int]:
        """The numbers in the first column."""
        result = self._check(self.run(parameter))
        return [int.from_bytes(result.get_value(i, 0), "big", signed=True) for i in range(result.ntuples)]

    def run(self, parameter: bytes):
        """The answer; the client sleeps while it waits."""
        return self.connection.pgconn.exec_prepared(b"timed", [parameter], [BINARY], BINARY)

    def run_awake(self, parameter: bytes):
        """The answer; the client polls for it without sleeping."""
        connection = self.connection.pgconn
        connection.send_query_prepared(b"timed", [parameter], [BINARY], BINARY)
        while connection.is_busy():
            connection.consume_input()
        answer = connection.get_result()
        while connection.get_result():
            pass
        return answer


def encoded(queries: np.ndarray) -> list[bytes]:
    """Vectors in the binary form of `vector`."""
    return [struct.pack(">HH", len(q), 0) + q.astype(">f4").tobytes() for q in queries]


@dataclass
class Timed:
    """The answers of some queries, and the moments (of the machine's monotonic clock) between them when they were
    asked again and again."""

    found: list[list[int]]
    moments: list[float]

    def summary(self) -> dict:
        ms = np.diff(self.moments) * 1000
        return {"qps": float(1000 / ms.mean()), "p50_ms": float(np.percentile(ms, 50)),
                "p99_ms": float(np.percentile(ms, 99))}


def timed(contender: Contender, data: datasets.Data, settings: list[str], where: str, count: int,
          known: bool = False) -> Timed:
    """Answers and latencies of one connection."""
    return timed_sql(contender.schema, data, settings, nearest(contender, data, where), count, known)


def timed_sql(schema: str, data: datasets.Data, settings: list[str], sql: str, count: int, known: bool = False) -> Timed:
    """Answers and latencies of a query with one vector for its parameter."""
    return timed_by(Statement(schema, sql, settings), encoded(data.queries[:count]), known)


def timed_by(statement: Statement, parameters: list[bytes], known: bool = False) -> Timed:
    """Answers and latencies: a round for the answers and the caches (where answers are known, as much of it as the time
    allows), then all again and again that are timed, until the time is over. Queries are in random order: those that
    come first are like the others."""
    clock, run = time.monotonic, statement.run_awake
    found, began = [], clock()
    for each in parameters:
        found.append(statement.ids(each))
        if known and clock() - began >= SECONDS:
            break
    moments = [clock()]
    for each in itertools.cycle(parameters):
        run(each)
        moments.append(clock())
        if moments[-1] - moments[0] >= SECONDS and len(moments) > min(LEAST, len(parameters)):
            break
    # The timed runs ignore errors. The same query again raises one that they had.
    statement.ids(parameters[0])
    return Timed(found, moments)


def concurrent(contender: Contender, data: datasets.Data, settings: list[str], connections: int) -> float:
    """Queries a second of several connections, each a process here, that begin together, each with another query,
    and stop when the time is over."""
    forked = multiprocessing.get_context("fork")
    results, begin = forked.Queue(), forked.Barrier(connections)
    parameters = encoded(data.queries)

    def work(number: int) -> None:
        statement = Statement(contender.schema, nearest(contender, data), settings)
        first = number * len(parameters) // connections
        mine = parameters[first:] + parameters[:first]
        for each in mine[:100]:
            statement.ids(each)
        begin.wait()
        began = ended = time.monotonic()
        done = 0
        for each in itertools.cycle(mine):
            statement.run(each)
            done, ended = done + 1, time.monotonic()
            if ended - began >= SECONDS:
                break
        results.put((done, began, ended))

    workers = [forked.Process(target=work, args=(number,), daemon=True) for number in range(connections)]
    for worker in workers:
        worker.start()
    # A worker that has failed sends no answer, and the others would wait for it forever.
    counts, begins, ends = zip(*[results.get(timeout=300) for _ in workers])
    for worker in workers:
        worker.join()
    return sum(counts) / (max(ends) - min(begins))


def recall(data: datasets.Data, found: list[list[int]], farthest: np.ndarray) -> float:
    hits = 0
    for query, ids, limit in zip(data.queries, found, farthest):
        if ids:
            d = datasets.distances(data.metric, data.rows[ids].astype(np.float32), query[None])[0]
            hits += int((d <= limit + 1e-6 * max(1.0, abs(limit))).sum())
    return hits / (len(found) * datasets.NEIGHBOURS)
