"""Sparse vectors: passages of real texts with BM25 weights as `sparsevec`, in our index and in pgvector's."""

import os
import re
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np

import data as datasets
import sources
from contender import OPERATOR, Contender, connect, create_index, insert_rows, numbered
from timing import Statement, timed_by

ROWS, QUERIES = int(float(os.environ.get("SPARSE_ROWS", "100e3"))), 200
METRICS = os.environ.get("SPARSE_METRICS", "cosine,ip").split(",")
EFFORTS = {"ivf": [0.8, 0.9, 0.95, 0.98, 0.99], "hnsw": [10, 20, 40, 80, 120, 200, 400, 800]}
# A passage is so many consecutive texts of one source that it has this number of distinct terms.
TERMS = 60
# Parameters of BM25 as most search engines have them.
SATURATION, BY_LENGTH = 1.2, 0.75
KEPT = datasets.ROOT / "target" / "data" / f"sparse-{ROWS}.npz"


@dataclass
class Sparse:
    """Vectors, one after the other: their terms in ascending order with weights, and where each begins."""

    terms: np.ndarray
    weights: np.ndarray
    starts: np.ndarray
    dimensions: int

    def __len__(self) -> int:
        return len(self.starts) - 1

    def of(self, row: int) -> slice:
        return slice(self.starts[row], self.starts[row + 1])

    @cached_property
    def lengths(self) -> np.ndarray:
        return np.sqrt(np.add.reduceat(self.weights.astype(np.float64) ** 2, self.starts[:-1]))

    def values(self, metric: str, query: int) -> np.ndarray:
        """The operator's values of all rows for one of them."""
        asked = np.zeros(self.dimensions)
        asked[self.terms[self.of(query)]] = self.weights[self.of(query)]
        products = np.add.reduceat(asked[self.terms] * self.weights, self.starts[:-1])
        return -products if metric == "ip" else 1 - products / (self.lengths * self.lengths[query])

    def binary(self, row: int) -> bytes:
        """The binary form of `sparsevec`."""
        terms = self.terms[self.of(row)]
        return (struct.pack(">iii", self.dimensions, len(terms), 0) + terms.astype(">i4").tobytes()
                + self.weights[self.of(row)].astype(">f4").tobytes())


def passages() -> Iterator[Counter]:
    """The words of consecutive texts."""
    words: Counter = Counter()
    for text in sources.texts()[0]:
        words.update(re.findall(r"[a-z0-9]+", text.lower()))
        if len(words) >= TERMS:
            yield words
            words = Counter()


def vectors() -> Sparse:
    """The rows and behind them the queries: made once, which takes minutes."""
    if not KEPT.exists():
        chosen = list(passages())
        order = np.random.default_rng(6).permutation(len(chosen))[: ROWS + QUERIES]
        chosen = [chosen[i] for i in order]
        words = sorted({word for each in chosen for word in each})
        known = {word: number for number, word in enumerate(words)}
        rows_with = Counter(word for each in chosen for word in each)
        usual = sum(each.total() for each in chosen) / len(chosen)
        terms, weights, starts = [], [], [0]
        for each in chosen:
            dampened = SATURATION * (1 - BY_LENGTH + BY_LENGTH * each.total() / usual)
            for word in sorted(each):
                rare = np.log(1 + (len(chosen) - rows_with[word] + 0.5) / (rows_with[word] + 0.5))
                terms.append(known[word])
                weights.append(rare * each[word] * (SATURATION + 1) / (each[word] + dampened))
            starts.append(len(terms))
        KEPT.parent.mkdir(parents=True, exist_ok=True)
        np.savez(KEPT, terms=np.array(terms, np.int32), weights=np.array(weights, np.float32),
                 starts=np.array(starts), dimensions=len(known))
    kept = np.load(KEPT)
    return Sparse(kept["terms"], kept["weights"], kept["starts"], int(kept["dimensions"]))


def measure(present: list[Contender], _: datasets.Data, results: dict, save: Callable[[], None]) -> None:
    """Adds `sparse` to what each contender has, but for IVFFlat, which has no classes for it."""
    everybody = [c for c in present if c.method in EFFORTS]
    if all("sparse" in results.get(c.name, {}) for c in everybody):
        return
    of = vectors()
    rows, queries = range(len(of) - QUERIES), range(len(of) - QUERIES, len(of))
    about = {"rows": len(rows), "dimensions": of.dimensions, "terms": len(of.terms) / len(of)}
    print(f"sparse: {about}", flush=True)
    for contender in everybody:
        load(contender, of, rows, "sparse_items")
        load(contender, of, queries, "sparse_queries")
        results.setdefault(contender.name, {})["sparse"] = about | {"metrics": {}}
    for metric in METRICS:
        # The tenth nearest of the rows, for each query.
        values = [of.values(metric, query)[: len(rows)] for query in queries]
        farthest = [np.partition(each, datasets.NEIGHBOURS - 1)[datasets.NEIGHBOURS - 1] for each in values]
        for contender in everybody:
            measured = one(contender, metric, (queries, values, farthest))
            results[contender.name]["sparse"]["metrics"][metric] = measured
    for contender in everybody:
        connect(contender.schema).execute("DROP TABLE sparse_items, sparse_queries")
    save()


def load(contender: Contender, of: Sparse, rows: range, table: str) -> None:
    connection = connect(contender.schema)
    connection.execute(f"DROP TABLE IF EXISTS {table}")
    connection.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, e sparsevec({of.dimensions}))")
    insert_rows(connection, table, numbered(map(of.binary, rows), rows.start))
    connection.execute(f"VACUUM ANALYZE {table}")


def one(contender: Contender, metric: str, asked: tuple) -> dict:
    """An index's build and its search."""
    queries, values, farthest = asked
    connection = connect(contender.schema)
    contender = copy(contender)
    contender.table = f"{contender.schema}.sparse_items"
    built = create_index(connection, contender, f"sparsevec_{metric}_ops", "sparse_index")
    print(f"sparse: {contender.name}, {metric}: {built}", flush=True)
    asked_for = "(SELECT q.e FROM sparse_queries q WHERE q.id = $1)"
    sql = f"SELECT id FROM sparse_items ORDER BY e {OPERATOR[metric]} {asked_for} LIMIT {datasets.NEIGHBOURS}"
    parameters = [struct.pack(">i", query) for query in queries]
    search = []
    for effort in EFFORTS[contender.method]:
        settings = [f"{contender.setting} = {effort}", "enable_seqscan = off", "enable_sort = off"]
        timed = timed_by(Statement(contender.schema, sql, settings, "int4"), parameters)
        hits = [(of_query[ids] <= limit + 1e-6 * max(1.0, abs(limit))).sum()
                for of_query, ids, limit in zip(values, timed.found, farthest)]
        search.append({"effort": effort, "recall": float(np.sum(hits)) / (datasets.NEIGHBOURS * len(queries)),
                       **timed.summary()})
        print(f"sparse: {contender.name}, {metric}: {search[-1]}", flush=True)
    connection.execute("DROP INDEX sparse_index")
    return {**built, "search": search}
