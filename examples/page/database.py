"""Connections, and statements that are timed, shown as they ran, and explained."""

import json
import os
import re
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Iterator

import numpy as np
import psycopg
from client import register_vector
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

DATABASE = os.environ.get("PAGE_DATABASE", "page")
ROLE = "page"  # owns nothing, so that row-level security holds for it
TIMEOUT_MS = 10_000  # of a statement
EXPLAIN = "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF) "


class Cursor(psycopg.RawCursor):
    """Statements have the server's own placeholders, $1: what is shown is what ran."""


def open_pool() -> ConnectionPool:
    return ConnectionPool(
        kwargs={
            "dbname": DATABASE,
            "user": ROLE,
            "row_factory": dict_row,
            "cursor_factory": Cursor,
            "options": f"-c statement_timeout={TIMEOUT_MS} -c lock_timeout=2000 "
            "-c idle_in_transaction_session_timeout=60000",
            "application_name": "page",
        },
        min_size=1,
        max_size=8,
        timeout=10,
        configure=configure,
        check=ConnectionPool.check_connection,
        reconnect_timeout=5,
        open=True,
    )


def configure(connection: psycopg.Connection) -> None:
    register_vector(connection)
    connection.rollback()


@dataclass
class Statement:
    """A statement that ran: its rows, and what is shown of it."""

    name: str
    sql: str
    parameters: list[Any]
    rows: list[dict]
    milliseconds: float
    plan: list[str] | None = None

    def shown(self) -> dict:
        return {
            "name": self.name,
            "sql": self.sql,
            "milliseconds": self.milliseconds,
            "plan": self.plan,
            "parameters": [short(each) for each in self.parameters],
            "psql": self.psql(),
            "rows": len(self.rows),
        }

    def psql(self) -> str:
        """The statement with all values, to be pasted into psql 16 or later, whose \\bind knows no NULL."""
        values: list[Any] = []

        def placeholder(match: re.Match) -> str:
            value = self.parameters[int(match[1]) - 1]
            if value is None:
                return "NULL"
            values.append(value)
            return f"${len(values)}"

        sql = re.sub(r"\$(\d+)", placeholder, self.sql)
        return sql + ("\n\\bind " + " ".join(map(quoted, values)) + " \\g" if values else ";")


class Session:
    """One transaction. Statements are never prepared: a kept plan would outlive `SET enable_indexscan = off`."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection

    def run(self, name: str, sql: str, parameters: list[Any] | None = None, plan: bool = False) -> Statement:
        sql, values = sql.strip(), parameters or []
        started = time.perf_counter()
        cursor = self.connection.execute(sql, values, prepare=False)
        rows = cursor.fetchall() if cursor.description else []
        done = Statement(name, sql, values, rows, (time.perf_counter() - started) * 1000)
        if plan:
            done.plan = self.explain(sql, values)
        return done

    def explain(self, sql: str, values: list[Any]) -> list[str]:
        """The plan of one more run. Before PostgreSQL 18 a plan cannot say what the index did: the function does."""
        rows = self.connection.execute(EXPLAIN + sql, values, prepare=False).fetchall()
        lines = [re.sub(r"'\[([^,\]]*),[^\]]*\]'", r"'[\1,...]'", each["QUERY PLAN"]) for each in rows]
        if self.connection.info.server_version < 180000 and any(" using " in line for line in lines):
            last = self.connection.execute("SELECT ivf_last_scan() AS last").fetchone()["last"]
            lines += ["", "ivf_last_scan(): " + json.dumps(last)]
        return lines

    def set(self, name: str, value: str) -> None:
        """A setting of this transaction."""
        self.connection.execute("SELECT set_config($1, $2, true)", [name, value])

    def median_ms(self, sql: str, parameters: list[Any], times: int) -> tuple[list[dict], float]:
        runs = [self.run("", sql, parameters) for _ in range(times)]
        return runs[-1].rows, float(np.median([each.milliseconds for each in runs]))


@contextmanager
def session(pool: ConnectionPool, keep: bool = True) -> Iterator[Session]:
    """`keep`: whether what was written remains."""
    with pool.connection() as connection:
        with connection.transaction(force_rollback=not keep):
            yield Session(connection)


def short(value: Any) -> str:
    """A value as it is shown: of a vector the first numbers."""
    if isinstance(value, np.ndarray):
        return f"[{value[0]:.3f}, {value[1]:.3f}, … {len(value)} numbers]"
    if isinstance(value, list):
        return "{" + ", ".join(str(each) for each in value) + "}"
    return "NULL" if value is None else str(value) if len(str(value)) <= 200 else str(value)[:199] + "…"


def quoted(value: Any) -> str:
    """A value as an argument of psql's \\bind."""
    if isinstance(value, np.ndarray):
        value = "[" + ",".join(repr(float(each)) for each in value) + "]"
    elif isinstance(value, list):
        elements = (str(each).replace("\\", "\\\\").replace('"', '\\"') for each in value)
        value = "{" + ",".join(f'"{each}"' for each in elements) + "}"
    text = str(value).replace("\\", "\\\\").replace("'", "''").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{text}'"


def plain(value: Any) -> Any:
    """A value for JSON."""
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value


def as_superuser(database: str) -> psycopg.Connection:
    return psycopg.connect(dbname=database, user=os.environ.get("PGUSER", "postgres"), autocommit=True)
