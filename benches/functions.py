"""The step `types`: time of the types' functions in nanoseconds, compared with pgvector's."""

import contextlib
import os
import re
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import psycopg

import data as datasets
from contender import Contender, connect

# One expression for each function of the types. Its column and constants are made by `types`. The functions
# parse, print, convert, compare and compute values and distances.
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
# A fast expression is evaluated several times for each row, so that the executor's own work weighs less. For
# short vectors it is evaluated on as many columns as fit a page, because the processor could predict repeated
# work on one value.
REPEATED, REPEATED_NS = 16, 400
COLUMNS = {3: 16, 128: 4, 768: 1, 1536: 1}
# Number of different rows. With only a hundred short or sparse rows, a processor's branch predictor would
# learn them all. With more long rows, the data would not stay in its caches; and all parts of a long row take
# the same time.
ROWS, LONG, LONG_ROWS = 1000, 768, 100
# There are many short rounds, each of both contenders in turn, and a low quantile of their times counts,
# because other work on the machine only adds time. The least time is not used, because a process's time is
# sometimes read a little late.
ROUNDS, ROUND_SECONDS = 60, 0.006
# The rounds of a call are spread over this many passes through all calls, because a machine may be slow for a
# second or two.
PASSES = 3


def pin(connections: Iterable[psycopg.Connection]) -> None:
    """Has the connections' processes share a processor, where the system allows it: one may be slower than the other for a
    while, which would be the difference that is measured."""
    with contextlib.suppress(AttributeError, OSError):
        processors = sorted(os.sched_getaffinity(0))
        for connection in connections:
            os.sched_setaffinity(connection.info.backend_pid, processors[-1:])


def busy(connection: psycopg.Connection) -> float:
    """The seconds that a connection's process has been on a processor, where the system tells them; else the clock's."""
    try:
        return int(Path(f"/proc/{connection.info.backend_pid}/schedstat").read_text().split()[0]) / 1e9
    except (OSError, ValueError):
        return time.perf_counter()


def types(contender: Contender, data: datasets.Data) -> list[dict]:
    """Nanoseconds of a call of the types' functions beside pgvector's, in turn. The values lie in memory as tables have them, those
    of up to 126 bytes with a 1-byte header, but none out of line; what the same statement takes without the calls is taken off."""
    connections = {schema: connect(schema) for schema in ("ours", "theirs")}
    pin(connections.values())
    for connection in connections.values():
        connection.prepared_max = 2 * len(CALLS) * len(COLUMNS)
    names = r"\b[tpvwaidnhksrbc]\b"
    out = []
    for dims, copies in COLUMNS.items():
        # Sparse vectors have a tenth of nonzero elements. The last row of each kind is used as operand.
        random = np.random.default_rng(dims)
        full, thin = (random.standard_normal((rows + 1, dims)).astype(np.float32)
                      for rows in (LONG_ROWS if dims >= LONG else ROWS, ROWS))
        thin = np.where(random.random(thin.shape) < 0.1, thin, 0)
        texts = [["[" + ",".join(map(str, row)) + "]" for row in rows] for rows in (full, thin)]
        texts.append(["[" + ",".join(map(str, row)) + "]" for row in (1000 * full).astype(int)])
        # The second operand is a constant.
        operands = {"w": f"'{texts[0][-1]}'::vector", "k": f"'{texts[0][-1]}'::halfvec",
                    "r": f"'{texts[1][-1]}'::vector::sparsevec", "c": f"binary_quantize('{texts[0][-1]}'::vector)"}
        # Source column of each text, and the expression.
        columns = {"t": (0, "t"), "v": (0, "t::vector"), "a": (0, "t::vector::real[]"), "h": (0, "t::halfvec"),
                   "d": (0, "t::vector::real[]::double precision[]"), "n": (0, "t::vector::real[]::numeric[]"),
                   "b": (0, "binary_quantize(t::vector)"), "s": (1, "t::vector::sparsevec"),
                   "p": (1, "t::vector::sparsevec::text"), "i": (2, "t::vector::real[]::integer[]")}

        def of_column(expression: str, column: str, copy: int) -> str:
            return re.sub(rf"\b{column}\b", f"{column}{copy % copies}", expression)

        for connection in connections.values():
            for column, (source, expression) in columns.items():
                made = ", ".join(f"{of_column(expression, 't', i)} AS {column}{i}" for i in range(copies))
                values = texts[source][:-1]
                arrays = [values[i:] + values[:i] for i in range(copies)]
                unnested = f"unnest({', '.join(['%s::text[]'] * copies)}) x({', '.join(f't{i}' for i in range(copies))})"
                connection.execute(f"DROP TABLE IF EXISTS types_{column}")
                connection.execute(f"CREATE TEMP TABLE types_{column} AS SELECT {made} FROM {unnested}", [[]] * copies)
                # Texts are read from TOAST, for both contenders. All other values are stored inline, if they
                # fit into a page.
                storage = "PLAIN" if column not in "tp" and (column != "n" or dims <= 128) and (
                    column != "d" or dims <= 768) else "EXTERNAL"
                for i in range(copies):
                    connection.execute(f"ALTER TABLE types_{column} ALTER {column}{i} SET STORAGE {storage}")
                connection.execute(f"INSERT INTO types_{column} SELECT {made} FROM {unnested}", arrays)

        def rows_of(column: str) -> int:
            return len(texts[columns[column][0]]) - 1

        def seconds(schema: str, expression: str, column: str, times: int, repeats: int) -> float:
            # Rows that OFFSET skips are computed but not sent.
            sql = (f"SELECT {', '.join(of_column(expression, column, i) for i in range(times))} "
                   f"FROM generate_series(1, {repeats}), types_{column} OFFSET {rows_of(column) * repeats}")
            began = busy(connections[schema])
            # Prepared, because parsing the constants in each round would take long for a long vector.
            connections[schema].execute(sql, prepare=True)
            return busy(connections[schema]) - began

        measured = {}
        for name, call in CALLS.items():
            expression = call.format(dims=dims)
            column = next(n for n in re.findall(names, expression) if n in columns)
            rows = rows_of(column)
            for operand, value in operands.items():
                expression = re.sub(rf"\b{operand}\b", lambda _: value, expression)
            try:
                once = min(seconds(schema, expression, column, 1, repeats) / (repeats * rows)
                           for schema in connections for repeats in (2, 2, 20))
            except psycopg.errors.DataException:
                # For example, three numbers that are all zero.
                continue
            times = min(max(int(REPEATED_NS / 1e9 / once), 1), REPEATED)
            repeats = min(max(int(ROUND_SECONDS / once / times / rows), 1), 2000)
            taken = {(schema, what): [] for schema in connections for what in (expression, column)}
            measured[name] = (expression, column, times, repeats, rows * repeats * times, taken)
        for _ in range(PASSES):
            for _, column, times, repeats, _, taken in measured.values():
                for _ in range(ROUNDS // PASSES):
                    for (schema, what), rounds in taken.items():
                        rounds.append(seconds(schema, what, column, times, repeats))
        for name, (expression, column, _, _, calls, taken) in measured.items():
            least = {each: sorted(rounds)[ROUNDS // 6] for each, rounds in taken.items()}
            out.append({"call": name, "dims": dims} | {
                schema: max(1e9 * (least[schema, expression] - least[schema, column]) / calls, 0.1) for schema in connections})
        slower = [f"{c['call']} {c['ours']:.1f} : {c['theirs']:.1f}" for c in out
                  if c["dims"] == dims and c["ours"] > c["theirs"]]
        print(f"  {dims} dimensions: slower than pgvector's: {', '.join(slower) or 'none'}", flush=True)
    return out
