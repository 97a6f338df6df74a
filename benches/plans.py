"""How good the planner's choice is."""

import time
from copy import copy

import numpy as np

import data as datasets
from contender import Contender, build, connect, create_index, nearest
from timing import Statement, encoded

FORCED = {
    "chosen": [],
    "ivf": ["enable_seqscan = off", "enable_bitmapscan = off", "enable_sort = off"],
    "B-tree, sort": ["enable_indexscan = off", "enable_seqscan = off"],
    "table, sort": ["enable_indexscan = off", "enable_bitmapscan = off"],
}
LIMITS = (10, 100, 1000)
# So many rounds of what takes less than so long.
ROUNDS, SLOW_MS = 5, 20.0
SHARES = (None, 0.5, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0)


def plans(contender: Contender, data: datasets.Data) -> list[dict]:
    """The plan that the planner chooses beside every other, by size, share of the rows that pass, and LIMIT."""
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
        for limit in LIMITS:
            for share in SHARES:
                where = "" if share is None else f"WHERE bucket < {int(share * 1000)}"
                medians = _medians(one.schema, nearest(one, part, where, limit), part.queries[:9])
                out.append({"rows": size, "limit": limit, "share": share, "ms": medians,
                            "ratio": medians["chosen"] / min(medians.values())})
        connection.execute(f"DROP TABLE {one.table}")
    good = sum(cell["ratio"] <= 1.5 for cell in out)
    print(f"  {good} of {len(out)} cells within 1.5 times the best plan", flush=True)
    return out


def _medians(schema: str, sql: str, queries: np.ndarray) -> dict[str, float]:
    """Milliseconds of a query by each plan: in turn, so that what else the machine does falls on all, the least of some
    rounds of each query. What was chosen takes what the same plan takes when it is forced."""
    statements = {name: Statement(schema, sql, settings) for name, settings in FORCED.items()}
    times: dict[str, list[float]] = {name: [] for name in FORCED}
    for parameter in encoded(queries):
        least: dict[str, float] = {}
        for _ in range(ROUNDS):
            for name, statement in statements.items():
                if least.get(name, 0) < SLOW_MS:
                    # Once for the caches: the next plan finds them as this one leaves them.
                    statement.ids(parameter)
                    began = time.perf_counter()
                    statement.run_awake(parameter)
                    ms = 1000 * (time.perf_counter() - began)
                    least[name] = min(ms, least.get(name, ms))
        for name, ms in least.items():
            times[name].append(ms)
    shapes = {name: _shape(statement, queries[0]) for name, statement in statements.items()}
    for statement in statements.values():
        statement.connection.close()
    medians = {name: float(np.median(ms[2:])) for name, ms in times.items()}
    return medians | {"chosen": min(ms for name, ms in medians.items() if shapes[name] == shapes["chosen"])}


def _shape(statement: Statement, query: np.ndarray) -> list[str]:
    """The plan's nodes and on which conditions they are, without the values."""
    sql = f"EXPLAIN (COSTS OFF) EXECUTE timed('[{','.join(map(str, query))}]')"
    return [line.split(": ")[0] for line, in statement.connection.execute(sql).fetchall()]
