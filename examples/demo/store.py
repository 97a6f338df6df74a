"""The demo's connection to Postgres: vectors as numpy arrays, and statements shown as they run."""

import os
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psycopg

ROOT = Path(__file__).resolve().parents[2]
# Modules that demo and benchmarks share are in scripts/, which is not a package.
sys.path.append(str(ROOT / "scripts"))
from client import register_vector, use_server

SERVER = ROOT / "target" / "demo" / "server"  # a link that run.sh makes
DATABASE = "demo"


def use_demo_server() -> None:
    """Points libpq at the demo's server, unless the caller has already named one."""
    if "PGHOST" not in os.environ:
        use_server(SERVER)


def connect(database: str = DATABASE) -> psycopg.Connection:
    return psycopg.connect(dbname=database, autocommit=True)


@dataclass
class Result:
    rows: list[tuple]
    columns: list[str]
    milliseconds: float


def run(connection: psycopg.Connection, sql: str, values: dict | None = None) -> Result:
    with connection.cursor() as cursor:
        started = time.perf_counter()
        # Never prepared: a kept plan would outlive `SET enable_indexscan = off`, and the scan
        # that ought to be exact would use the index.
        cursor.execute(sql, values or {}, prepare=False)
        rows = cursor.fetchall() if cursor.description else []
        elapsed = (time.perf_counter() - started) * 1000
        columns = [each.name for each in cursor.description or []]
    return Result(rows, columns, elapsed)


def plan(connection: psycopg.Connection, sql: str, values: dict) -> list[str]:
    options = "ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF"
    rows = run(connection, f"EXPLAIN ({options}) {sql}", values).rows
    # The 384 numbers of the question would fill the screen.
    return [re.sub(r"'\[([^,]*),[^\]]*\]'", r"'[\1,...]'", line) for (line,) in rows]


def shown(sql: str, values: dict | None = None) -> str:
    """The statement as one would type it into psql, with vectors cut short."""
    def literal(match: re.Match) -> str:
        value = (values or {})[match[1]]
        if isinstance(value, np.ndarray):
            return f"'[{value[0]:.3f},{value[1]:.3f},...]'"
        return "'" + str(value).replace("'", "''") + "'"

    return re.sub(r"%\((\w+)\)s", literal, sql)
