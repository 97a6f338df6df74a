"""How good the planner's choice is."""

import time
from copy import copy
from dataclasses import dataclass

import numpy as np

import data as datasets
from contender import OPERATOR, Contender, build, connect, create_index, nearest, order
from timing import Statement, encoded

FORCED = {
    "chosen": [],
    "ivf": ["enable_seqscan = off", "enable_bitmapscan = off", "enable_sort = off"],
    "B-tree, sort": ["enable_indexscan = off", "enable_seqscan = off"],
    "table, sort": ["enable_indexscan = off", "enable_bitmapscan = off"],
}
LIMITS = (10, 100, 1000)
# Number of rounds for queries that take less than a given time.
ROUNDS, SLOW_MS = 5, 20.0
SHARES = (None, 0.5, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0)
# Shares of the rows within a threshold, and of those that a filter passes.
WITHIN = (0.0005, 0.01, 0.1, 0.5)
FILTERED = (0.3, 0.1, 0.01, 0.001)


@dataclass
class Question:
    """A query and what it is called."""

    name: str
    sql: str
    # Number of query vectors: few if the vector makes no difference.
    queries: int = 9


def plans(contender: Contender, data: datasets.Data) -> list[dict]:
    """The plan that the planner chooses beside every other, by the table's size and the question."""
    out = []
    for size in sorted({1000, 10_000, len(data.rows)}):
        part = datasets.part(data, data.rows[:size])
        one = copy(contender)
        one.table = f"{contender.schema}.plan_items"
        build(one, part)
        connection = connect(one.schema)
        connection.execute(f"DROP INDEX {one.schema}.plan_items_index")
        connection.execute(f"CREATE TABLE {one.schema}.plan_kinds AS SELECT i AS bucket, i % 10 AS kind FROM generate_series(0, 999) i")
        create_index(connection, one, part, "plan_index", ", bucket")
        connection.execute(f"VACUUM ANALYZE {one.table}")
        connection.execute(f"VACUUM ANALYZE {one.schema}.plan_kinds")
        out += _cells(one, part, [*_filters(one, part), *_thresholds(connection, one, part), *_joins(one, part), *_pages(one, part),
                                *_clauses(one, part), *_ranges(connection, one, part), *_groups(one, part)])
        # Values in a jsonb document, with and without an index column for them.
        connection.execute(f"DROP INDEX {one.schema}.plan_index")
        connection.execute(f"ALTER TABLE {one.table} ADD meta jsonb")
        connection.execute(f"UPDATE {one.table} SET meta = jsonb_build_object('bucket', bucket, 'tag', bucket / 10)")
        connection.execute(f"VACUUM FULL {one.table}")
        create_index(connection, one, part, "plan_index", ", ((meta ->> 'tag'))")
        # Without these statistics the planner assumes that a third of the rows pass.
        connection.execute(f"CREATE STATISTICS {one.schema}.plan_numbers ON ((meta ->> 'bucket')::int) FROM {one.table}")
        connection.execute(f"VACUUM ANALYZE {one.table}")
        out += _cells(one, part, _expressions(one, part))
        connection.execute(f"DROP TABLE {one.table}, {one.schema}.plan_kinds")
    good = sum(cell["ratio"] <= 1.5 for cell in out)
    print(f"  {good} of {len(out)} cells within 1.5 times the best plan", flush=True)
    return out


def _cells(one: Contender, part: datasets.Data, questions: list[Question]) -> list[dict]:
    out = []
    for question in questions:
        medians = _medians(one.schema, question.sql, part.queries[: question.queries])
        out.append({"rows": len(part.rows), "question": question.name, "ms": medians,
                    "ratio": medians["chosen"] / min(medians.values())})
    return out


def _filters(one: Contender, part: datasets.Data) -> list[Question]:
    """Questions with a condition on an index column that also has a B-tree."""
    return [Question(f"{'all' if share is None else f'{share:.1%}'} pass, LIMIT {limit}",
                     nearest(one, part, "" if share is None else f"WHERE bucket < {int(share * 1000)}", limit))
            for limit in LIMITS for share in SHARES]


def _thresholds(connection, one: Contender, part: datasets.Data) -> list[Question]:
    """Questions with a distance threshold that a given number of rows is within, for the median query."""
    distance = order(part)
    out = []
    for share in WITHIN:
        radius = _radius(connection, one, part, share)
        within = f"SELECT id FROM {one.table} WHERE {distance} < {radius} ORDER BY {distance}"
        out += [Question(f"{share:.2%} within{limit}", within + limit) for limit in ("", " LIMIT 10", " LIMIT 100")]
        if share <= 0.1:
            to_row = f"e {OPERATOR[part.metric]} a.v"
            out.append(Question(f"{share:.2%} within of each of three rows",
                                f"SELECT n.id FROM (SELECT e AS v FROM {one.table} WHERE id < 3) a, LATERAL (SELECT id FROM {one.table} "
                                f"WHERE {to_row} < {radius} ORDER BY {to_row}) n WHERE %b IS NOT NULL", 4))
    return out


def _radius(connection, one: Contender, part: datasets.Data, share: float) -> float:
    """The distance that a share of the rows is within, for the median query."""
    # Here the client passes the vector as text.
    distance = order(part).replace("%b", "%s::vector")
    sql = f"SELECT percentile_disc({share}) WITHIN GROUP (ORDER BY {distance}) FROM {one.table}"
    texts = [f"[{','.join(map(str, query))}]" for query in part.queries[:5]]
    return float(np.median([connection.execute(sql, [text]).fetchone()[0] for text in texts]))


def _clauses(one: Contender, part: datasets.Data) -> list[Question]:
    """Questions with conditions that are joined by OR and NOT."""
    out = []
    for share in SHARES[2:]:
        half = int(share * 500)
        for name, where in (("OR", f"bucket < {half} OR bucket >= {1000 - half}"), ("NOT", f"NOT (bucket >= {half} OR bucket < 0)"),
                            ("NOT IN", f"bucket < {2 * half} AND bucket NOT IN (1, 3, 5, 7)")):
            out += [Question(f"{name}, {share:.1%} pass, LIMIT {limit}", nearest(one, part, f"WHERE {where}", limit)) for limit in (10, 100)]
    return out


def _ranges(connection, one: Contender, part: datasets.Data) -> list[Question]:
    """All rows within a distance, without an order: of a query, of one of two, with a filter, and of rows of a join."""
    distance, table = order(part), one.table
    to_row = f"n.e {OPERATOR[part.metric]} a.v"
    out = []
    for share in WITHIN[:3]:
        radius = _radius(connection, one, part, share)
        name, within = f"{share:.2%} within", f"{distance} < {radius}"
        other = f"e {OPERATOR[part.metric]} (SELECT e FROM {table} WHERE id = 5) < {radius}"
        out += [Question(f"{name}, no order", f"SELECT id FROM {table} WHERE {within}"),
                Question(f"{name}, exists", f"SELECT EXISTS (SELECT FROM {table} WHERE {within})::int"),
                Question(f"{name}, a tenth passes", f"SELECT id FROM {table} WHERE {within} AND bucket < 100"),
                Question(f"{name}, or of another", f"SELECT id FROM {table} WHERE {within} OR {other}"),
                Question(f"{name} of three rows, join", f"SELECT n.id FROM (SELECT e AS v FROM {table} WHERE id < 3) a "
                         f"JOIN {table} n ON {to_row} < {radius} WHERE %b IS NOT NULL", 4)]
    return out


def _groups(one: Contender, part: datasets.Data) -> list[Question]:
    """The best of each group, among the nearest rows."""
    return [Question(f"best of each group, {limit} rows", f"SELECT topic FROM (SELECT topic, {order(part)} AS d FROM {one.table} "
                     f"ORDER BY d LIMIT {limit}) nearest GROUP BY topic ORDER BY min(d) LIMIT 10") for limit in (100, 1000)]


def _joins(one: Contender, part: datasets.Data) -> list[Question]:
    """The nearest rows of a join that keeps all, or a tenth; the nearest of each of three rows."""
    joined = f"SELECT t.id FROM {one.table} t JOIN {one.schema}.plan_kinds k ON k.bucket = t.bucket"
    out = [Question(f"join, {name}, LIMIT {limit}", f"{joined} {where} ORDER BY t.{order(part)} LIMIT {limit}")
           for name, where in (("all rows", ""), ("a tenth of the rows", "WHERE k.kind = 3")) for limit in (10, 100)]
    to_row = f"e {OPERATOR[part.metric]} a.v"
    return out + [Question(f"LIMIT {limit} of each of three rows",
                           f"SELECT n.id FROM (SELECT e AS v FROM {one.table} WHERE id < 3) a, LATERAL (SELECT id FROM {one.table} "
                           f"ORDER BY {to_row} LIMIT {limit}) n WHERE %b IS NOT NULL", 4) for limit in (1, 10)]


def _pages(one: Contender, part: datasets.Data) -> list[Question]:
    """All pages come by one plan, which is that of the first: far ones may take longer than they could."""
    return [Question(f"LIMIT {size} OFFSET {offset}", f"{nearest(one, part, '', size)} OFFSET {offset}")
            for size, offset in ((10, 10), (10, 90), (10, 300), (100, 300))]


def _expressions(one: Contender, part: datasets.Data) -> list[Question]:
    """Filters by expressions: a column of the index, one of which nothing is known, and both."""
    out = []
    for share in FILTERED:
        number = int(share * 1000)
        out.append(Question(f"document's number, {share:.1%} pass, LIMIT 10",
                            nearest(one, part, f"WHERE (meta ->> 'bucket')::int < {number}")))
    out += [Question(f"document's tag, 1% pass, LIMIT {limit}", nearest(one, part, "WHERE meta ->> 'tag' = '42'", limit))
            for limit in (10, 100)]
    out.append(Question("document's tag and number, 0.5% pass, LIMIT 10",
                        nearest(one, part, "WHERE meta ->> 'tag' = '42' AND (meta ->> 'bucket')::int % 10 < 5")))
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
                    # Each plan first runs once to warm the caches, which the previous plan has left in another state.
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
    lines = [line.split(": ")[0] for line, in statement.connection.execute(sql).fetchall()]
    # Of a node that a setting forbids PostgreSQL 18 says so, though it may be the only one there is.
    return [line for line in lines if line.strip() != "Disabled"]
