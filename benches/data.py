"""Vectors from files, queries held out of them, and the exact answers."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
# The directory of the data sets that texts.py makes.
MADE = ROOT / "target" / "data"
NEIGHBOURS = 10
# The filter columns: one is independent of the vectors, one is correlated with them.
FILTERS = ("bucket", "topic")


@dataclass
class Data:
    name: str
    # The source of the data, if texts.py made it.
    about: str
    metric: str
    # The column's type: vector, halfvec or bit. Rows and queries are rounded to that type; bits are 0 and 1.
    kind: str
    rows: np.ndarray
    queries: np.ndarray
    # The value of the tenth nearest row for each query: a row at most this far is a hit.
    farthest: np.ndarray
    # The direction with the largest variance, and the values that divide the rows along it into a thousand topics.
    direction: np.ndarray
    cuts: np.ndarray

    def topics(self, rows: np.ndarray) -> np.ndarray:
        """Numbers from 0 to 999 that go with the vectors, for filters that correlate with them."""
        return np.searchsorted(self.cuts, rows @ self.direction)


def buckets(first: int, count: int) -> np.ndarray:
    """Numbers from 0 to 999 that are independent of the vectors."""
    ids = np.arange(first, first + count, dtype=np.uint64)
    return ((ids * 2654435761 % 2**32 * 1000) >> np.uint64(32)).astype(np.int64)


def _cuts(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    sample = rows[:: max(len(rows) // 2000, 1)]
    direction = np.linalg.svd(sample - sample.mean(axis=0), full_matrices=False)[2][0]
    return direction, np.quantile(rows @ direction, np.arange(1, 1000) / 1000)


def _vecs(path: Path, kind: str) -> np.ndarray:
    dims = int(np.fromfile(path, dtype="<i4", count=1)[0])
    size = 4 if kind == "<f4" else 1
    raw = np.fromfile(path, dtype=np.uint8).reshape(-1, 4 + dims * size)[:, 4:]
    return raw.copy().view(kind).astype(np.float32)


def _read(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    if path.suffix == ".npy":
        return np.load(path).astype(np.float32), None
    if path.suffix == ".fvecs":
        return _vecs(path, "<f4"), None
    if path.suffix == ".bvecs":
        return _vecs(path, "u1"), None
    if path.suffix == ".hdf5":
        import h5py

        with h5py.File(path) as file:
            return file["train"][:].astype(np.float32), file["test"][:].astype(np.float32)
    raise SystemExit(f"{path}: known are .npy, .fvecs, .bvecs and .hdf5")


def distances(metric: str, rows: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """For each query and row, a number with the order of the operator's value."""
    if metric == "cosine":
        norms = np.linalg.norm(rows, axis=1)
        return -(queries @ rows.T) / np.where(norms > 0, norms, np.inf)
    if metric == "ip":
        return -(queries @ rows.T)
    if metric == "l1":
        return np.stack([np.abs(rows - query).sum(axis=1) for query in queries])
    if metric == "jaccard":
        common = queries @ rows.T
        either = queries.sum(axis=1)[:, None] + rows.sum(axis=1) - common
        return 1 - common / np.maximum(either, 1)
    # Squared Euclidean distance, which is Hamming distance of bits.
    return (rows * rows).sum(axis=1) - 2 * (queries @ rows.T)


def nearest_values(metric: str, rows: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """For each query, the values of its nearest rows."""
    best = np.empty((len(queries), min(NEIGHBOURS, len(rows))))
    for i in range(0, len(queries), 100):
        d = distances(metric, rows, queries[i : i + 100])
        best[i : i + 100] = np.partition(d, best.shape[1] - 1, axis=1)[:, : best.shape[1]]
    return best


def tenth_nearest(metric: str, rows: np.ndarray, queries: np.ndarray) -> np.ndarray:
    return nearest_values(metric, rows, queries).max(axis=1)


# Mixtures are made in batches of this size, so that they do not depend on who asks for which of them.
MIXED = 2000


def rows_from(rows: np.ndarray, first: int, count: int) -> np.ndarray:
    """Rows `first` to `first + count` of a table of any size: the real ones, then mixtures of a real row with one of
    its nearest among some hundred others, with a little noise, so that new rows lie where the real ones do."""
    real = rows[first : first + count]
    beyond = range(max(first, len(rows)) - len(rows), first + count - len(rows))
    if not beyond:
        return real
    batches = [_mixtures(rows, each) for each in range(beyond.start // MIXED, (beyond.stop - 1) // MIXED + 1)]
    skipped = beyond.start % MIXED
    return np.concatenate([real, np.concatenate(batches)[skipped : skipped + len(beyond)]])


def _mixtures(rows: np.ndarray, batch: int) -> np.ndarray:
    random = np.random.default_rng([3, batch])
    anchors = rows[random.integers(0, len(rows), MIXED)]
    others = rows[random.integers(0, len(rows), 500)]
    near = others[np.argmin(distances("l2", others, anchors), axis=1)]
    share = random.uniform(0.2, 0.8, (MIXED, 1)).astype(np.float32)
    noise = 0.05 * float(others.std()) * random.standard_normal(anchors.shape, dtype=np.float32)
    return share * anchors + (1 - share) * near + noise


def enlarged(rows: np.ndarray, size: int) -> np.ndarray:
    """At least `size` rows, see `rows_from`."""
    return rows if size <= len(rows) else rows_from(rows, 0, size)


def part(data: Data, rows: np.ndarray) -> Data:
    """The same queries for another set of rows."""
    farthest = tenth_nearest(data.metric, rows, data.queries)
    return replace(data, rows=rows, farthest=farthest)


def load() -> Data:
    default = ROOT / "target" / "demo" / "glosses.npy"
    path = Path(os.environ.get("DATA") or default)
    about = ""
    if str(path) in ("texts", "glove"):
        path = MADE / f"{path}.npy"
        about = path.with_suffix(".txt").read_text()
    rows, queries = _read(path)
    if scale := os.environ.get("SCALE"):
        rows *= np.load(scale).astype(np.float32)[:, None]
    if dims := os.environ.get("DIMS"):
        rows = rows[:, : int(dims)]
    if joined := int(os.environ.get("JOIN", "1")) - 1:
        # Joins the vectors of consecutive texts into rows of more dimensions.
        rows = np.concatenate([rows[i : len(rows) - joined + i] for i in range(joined + 1)], axis=1)
    held_out = int(os.environ.get("QUERIES", "1000"))
    if queries is None:
        # Files are often sorted by topic, so queries are drawn from all parts.
        rows = rows[np.random.default_rng(0).permutation(len(rows))]
        rows, queries = rows[:-held_out], rows[-held_out:]
    rows = np.ascontiguousarray(rows[: int(os.environ.get("ROWS", len(rows)))])
    queries = np.ascontiguousarray(queries[:held_out])
    metric, kind = os.environ.get("METRIC", "cosine"), os.environ.get("TYPE", "vector")
    if kind == "halfvec":
        rows, queries = (v.astype(np.float16).astype(np.float32) for v in (rows, queries))
    elif kind == "bit":
        rows, queries = (rows > 0).astype(np.float32), (queries > 0).astype(np.float32)
        metric = os.environ.get("METRIC", "hamming")
    name = os.environ.get("NAME") or f"{path.stem}-{len(rows)}x{rows.shape[1]}-{kind}-{metric}"
    print(f"{name}: {len(rows)} rows, {len(queries)} queries; computing exact answers", flush=True)
    return Data(name, about, metric, kind, rows, queries, tenth_nearest(metric, rows, queries), *_cuts(rows))
