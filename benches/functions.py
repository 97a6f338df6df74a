"""The step `types`: nanoseconds of the types' functions beside pgvector's."""

import math
import re
import time
from pathlib import Path

import numpy as np
import psycopg

import data as datasets
from contender import Contender, connect

# The types' functions: an expression for each, of a column and constants that `types` makes. They are those that the types
# have for reading, printing, converting, measuring, comparing and computing.
CALLS = {
    "parse": "t::vector", "print": "v::text", "send": "vector_send(v)", "vector(n)": "vector(v, {dims}, true)",
    "from integer[]": "i::vector", "from real[]": "a::vector", "from double precision[]": "d::vector",
    "from numeric[]": "n::vector", "to real[]": "v::real[]", "to halfvec": "v::halfvec", "to sparsevec": "v::sparsevec",
    "<->": "v <-> w", "<#>": "v <#> w", "<=>": "v <=> w", "<+>": "v <+> w", "=": "v = v", "<": "v < w", "+": "v + w",
    "*": "v * w", "||": "v || w", "vector_dims": "vector_dims(v)", "vector_norm": "vector_norm(v)",
    "l2_normalize": "l2_normalize(v)", "subvector": "subvector(v, 2, 2)", "binary_quantize": "binary_quantize(v)",
    "halfvec parse": "t::halfvec", "halfvec print": "h::text", "halfvec send": "halfvec_send(h)",
    "halfvec from real[]": "a::halfvec", "halfvec to real[]": "h::real[]", "halfvec to vector": "h::vector",
    "halfvec to sparsevec": "h::sparsevec", "halfvec <->": "h <-> k", "halfvec <#>": "h <#> k", "halfvec <=>": "h <=> k",
    "halfvec <+>": "h <+> k", "halfvec =": "h = h", "halfvec +": "h + k", "halfvec l2_normalize": "l2_normalize(h)",
    "halfvec binary_quantize": "binary_quantize(h)",
    "sparsevec parse": "p::sparsevec", "sparsevec print": "s::text", "sparsevec send": "sparsevec_send(s)",
    "sparsevec from real[]": "a::sparsevec", "sparsevec to vector": "s::vector", "sparsevec to halfvec": "s::halfvec",
    "sparsevec <->": "s <-> r", "sparsevec <#>": "s <#> r", "sparsevec <=>": "s <=> r", "sparsevec <+>": "s <+> r",
    "sparsevec =": "s = s", "sparsevec l2_normalize": "l2_normalize(s)",
    "bit <~>": "b <~> c", "bit <%>": "b <%> c",
}
# An expression that takes little is evaluated several times for each row, so that the executor's own work weighs less. One
# that takes more is not, since what it does with one value must not be predictable from the time before.
REPEATED, REPEATED_NS = 16, 400
# Of several rounds the least counts: whatever else the machine does only adds.
ROUNDS, ROUND_SECONDS = 30, 0.01


def busy(connection: psycopg.Connection) -> float:
    """The seconds that a connection's process has been on a processor, where the system tells them; else the clock's."""
    try:
        return int(Path(f"/proc/{connection.info.backend_pid}/schedstat").read_text().split()[0]) / 1e9
    except (OSError, ValueError):
        return time.perf_counter()


def types(contender: Contender, data: datasets.Data) -> list[dict]:
    """Nanoseconds of a call of the types' functions beside pgvector's, in turn. The values are plain in memory; what the
    same statement takes without the calls is taken off."""
    connections = {schema: connect(schema) for schema in ("ours", "theirs")}
    names = r"\b[tpvwaidnhksrbc]\b"
    out = []
    for dims in (3, 128, 768, 1536):
        # Many rows, so that no branch is predicted from the row before; of the sparse ones a tenth is not zero.
        random = np.random.default_rng(dims)
        full = random.standard_normal((101, dims)).astype(np.float32)
        thin = np.where(random.random((101, dims)) < 0.1, full, 0)
        texts = [["[" + ",".join(map(str, row)) + "]" for row in rows] for rows in (full, thin)]
        texts.append(["[" + ",".join(map(str, row)) + "]" for row in (1000 * full).astype(int)])
        # The second operand is a constant.
        operands = {"w": f"'{texts[0][100]}'::vector", "k": f"'{texts[0][100]}'::halfvec",
                    "r": f"'{texts[1][100]}'::vector::sparsevec", "c": f"binary_quantize('{texts[0][100]}'::vector)"}
        columns = {"t": "t", "p": "z::vector::sparsevec::text", "v": "t::vector", "a": "t::vector::real[]",
                   "i": "x::vector::real[]::integer[]", "d": "t::vector::real[]::double precision[]",
                   "n": "t::vector::real[]::numeric[]", "h": "t::halfvec", "s": "z::vector::sparsevec",
                   "b": "binary_quantize(t::vector)"}
        for connection in connections.values():
            for column, expression in columns.items():
                connection.execute(f"DROP TABLE IF EXISTS types_{column}")
                connection.execute(f"CREATE TEMP TABLE types_{column} AS SELECT {expression} AS {column} FROM (SELECT) o, "
                                   "unnest('{}'::text[], '{}'::text[], '{}'::text[]) y (t, z, x)")
                # Texts are put together from TOAST, the same for both; all else is plain, if it fits into a page.
                storage = "PLAIN" if column not in "tp" and (column != "n" or dims <= 128) and (
                    column != "d" or dims <= 768) else "EXTERNAL"
                connection.execute(f"ALTER TABLE types_{column} ALTER {column} SET STORAGE {storage}")
                connection.execute(f"INSERT INTO types_{column} SELECT {expression} FROM "
                                   "unnest(%s::text[], %s::text[], %s::text[]) y (t, z, x)", [t[:100] for t in texts])

        def seconds(schema: str, expression: str, column: str, times: int, repeats: int) -> float:
            # Rows below OFFSET are computed and not sent.
            sql = (f"SELECT {', '.join([expression] * times)} FROM generate_series(1, {repeats}), types_{column} "
                   f"OFFSET {100 * repeats}")
            began = busy(connections[schema])
            connections[schema].execute(sql, prepare=False)
            return busy(connections[schema]) - began

        for name, call in CALLS.items():
            expression = call.format(dims=dims)
            column = next(n for n in re.findall(names, expression) if n in columns)
            for operand, value in operands.items():
                expression = re.sub(rf"\b{operand}\b", lambda _: value, expression)
            try:
                once = min(seconds(schema, expression, column, 1, 2) for schema in connections for _ in range(2)) / 200
            except psycopg.errors.DataException:
                # Three numbers of which none is not zero, and the like.
                continue
            times = min(max(int(REPEATED_NS / 1e9 / once), 1), REPEATED)
            repeats = min(max(int(ROUND_SECONDS / once / times / 100), 1), 2000)
            least = {(schema, e): math.inf for schema in connections for e in (expression, column)}
            for _ in range(ROUNDS):
                for schema, e in least:
                    least[schema, e] = min(least[schema, e], seconds(schema, e, column, times, repeats))
            ns = {schema: 1e9 * (least[schema, expression] - least[schema, column]) / (100 * times * repeats)
                  for schema in connections}
            out.append({"call": name, "dims": dims} | {schema: max(t, 0.1) for schema, t in ns.items()})
        slower = [f"{c['call']} {c['ours']:.1f} : {c['theirs']:.1f}" for c in out
                  if c["dims"] == dims and c["ours"] > c["theirs"]]
        print(f"  {dims} dimensions: slower than pgvector's: {', '.join(slower) or 'none'}", flush=True)
    return out
