"""A coordinator and workers of Citus on loopback, and a distributed table with an ivf index."""

import os
import socket
import subprocess
import unittest
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from client import SCRIPTS, register_vector

PG_CONFIG = os.environ["PG_CONFIG"]
COMPAT = os.environ.get("VECTOR_SEARCH_COMPAT")
ROOT = SCRIPTS.parent
DIMENSIONS = 32
ROWS = 20_000
CATEGORIES = 45
SHARDS = 8
LISTS = 25
SETTINGS = [
    "fsync = off",
    "listen_addresses = '127.0.0.1'",
    # For a shard that is moved while it is written.
    "wal_level = logical",
    "max_worker_processes = 20",
    "citus.shard_count = %d" % SHARDS,
]
if COMPAT:
    SETTINGS.append(f"extension_control_path = '{COMPAT}:$system'")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def server_script(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    # A server that stays would keep a pipe open.
    log = ROOT / "target" / "test" / "citus-server.log"
    with log.open("w") as out:
        done = subprocess.run([SCRIPTS / "server.sh", *arguments], text=True, stdout=out, stderr=out)
    done.stdout = log.read_text()
    return done


class Node:
    """One server."""

    def __init__(self, name: str, preload: str = "citus") -> None:
        self.directory = ROOT / "target" / "test" / f"citus-{name}"
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.preload = preload
        server_script("remove", self.directory)

    def start(self) -> None:
        done = self.try_start()
        if done.returncode != 0:
            raise AssertionError(f"{self.directory.name} did not start:\n{done.stdout}")

    def try_start(self) -> subprocess.CompletedProcess[str]:
        settings = [f"shared_preload_libraries = '{self.preload}'", *SETTINGS]
        return server_script("start", self.directory, PG_CONFIG, str(self.port), *settings)

    def stop(self, mode: str) -> None:
        server_script("stop", self.directory, mode)

    def remove(self) -> None:
        server_script("remove", self.directory)

    def alarms(self) -> str:
        return server_script("alarms", self.directory).stdout

    def connect(self, database: str = "app") -> psycopg.Connection[Any]:
        return psycopg.connect(host="127.0.0.1", port=self.port, user="postgres", dbname=database, autocommit=True)


class Cluster:
    """The first node is the coordinator."""

    def __init__(self, name: str, workers: int, preload: str = "citus", extension: bool = True) -> None:
        self.nodes = [Node(f"{name}{number}", preload) for number in range(workers + 1)]
        for node in self.nodes:
            node.start()
            with node.connect("postgres") as db:
                db.execute("CREATE DATABASE app")
            with node.connect() as db:
                db.execute("CREATE EXTENSION citus")
        with self.nodes[0].connect() as db:
            db.execute("SELECT citus_set_coordinator_host('127.0.0.1', %s)", [self.nodes[0].port])
            for node in self.nodes[1:]:
                db.execute("SELECT citus_add_node('127.0.0.1', %s)", [node.port])
            if extension:
                db.execute("CREATE EXTENSION vector_search")

    def connect(self) -> psycopg.Connection[Any]:
        """A session at the coordinator."""
        db = self.nodes[0].connect()
        register_vector(db)
        return db

    def remove(self) -> None:
        alarms = [node.alarms() for node in self.nodes]
        for node in self.nodes:
            node.remove()
        assert not any(alarms), alarms


def made_up_rows(spread: float) -> np.ndarray:
    """Rows in clusters, which overlap more the larger their spread is."""
    random = np.random.default_rng(7)
    centres = random.normal(size=(97, DIMENSIONS))
    rows = centres[random.integers(97, size=ROWS)] + spread * random.normal(size=(ROWS, DIMENSIONS))
    return rows.astype("f4")


def made_up_queries(rows: np.ndarray, number: int) -> np.ndarray:
    random = np.random.default_rng(11)
    chosen = rows[random.integers(len(rows), size=number)]
    return (chosen + 0.3 * random.normal(size=chosen.shape)).astype("f4")


def distances(rows: np.ndarray, query: np.ndarray) -> np.ndarray:
    return np.linalg.norm(rows.astype("f8") - query.astype("f8"), axis=1)


def text(vector: np.ndarray) -> str:
    return "[" + ",".join(str(number) for number in vector) + "]"


class CitusTest(unittest.TestCase):
    """A cluster with the table `items`, for the tests of one class."""

    workers = 2
    preload = "citus"
    spread = 0.6
    cluster: Cluster
    db: psycopg.Connection[Any]
    rows: np.ndarray

    @classmethod
    def setUpClass(cls) -> None:
        cls.cluster = Cluster(cls.__name__.lower(), cls.workers, cls.preload)
        cls.addClassCleanup(cls.cluster.remove)
        cls.db = cls.cluster.connect()
        cls.addClassCleanup(cls.db.close)
        cls.rows = made_up_rows(cls.spread)
        cls.db.execute(f"CREATE TABLE items (id bigint PRIMARY KEY, category int, embedding vector({DIMENSIONS}))")
        cls.db.execute("SELECT create_distributed_table('items', 'id')")
        with cls.db.cursor().copy("COPY items FROM STDIN") as copy:
            for number, row in enumerate(cls.rows):
                copy.write_row((number, number % CATEGORIES, text(row)))
        cls.db.execute(f"CREATE INDEX items_index ON items USING ivf (embedding, category) WITH (lists = {LISTS})")
        cls.db.execute("VACUUM ANALYZE items")

    def plan(self, query: str, *arguments: Any) -> str:
        """The plan of the coordinator and those of all shards."""
        self.db.execute("SET citus.explain_all_tasks = on")
        # With the arguments in its text: Citus cannot explain what has parameters.
        with psycopg.ClientCursor(self.db) as cursor:
            plan = cursor.execute(f"EXPLAIN (COSTS OFF, VERBOSE) {query}", arguments).fetchall()
        return "\n".join(line for (line,) in plan) + "\n"

    def all(self, query: str, *arguments: Any) -> list[Any]:
        """The rows of a query, or the values if it has one column."""
        found = self.db.execute(query, arguments).fetchall()
        return [row[0] if len(row) == 1 else row for row in found]

    def one(self, query: str, *arguments: Any) -> Any:
        (value,) = self.all(query, *arguments)
        return value

    def nearest(self, query: np.ndarray, k: int, passing: np.ndarray | None = None) -> list[int]:
        """By arithmetic of our own."""
        measured = distances(self.rows, query)
        if passing is not None:
            measured[~passing] = np.inf
        order = np.argsort(measured, kind="stable")[:k]
        return [int(number) for number in order if measured[number] < np.inf]

    def recall(self, queries: np.ndarray, db: psycopg.Connection[Any] | None = None) -> float:
        """The share of the ten nearest rows that is found, in the session's settings."""
        found = 0
        for query in queries:
            near = (db or self.db).execute("SELECT id FROM items ORDER BY embedding <-> %s LIMIT 10", [query])
            found += len({row for (row,) in near} & set(self.nearest(query, 10)))
        return found / (10 * len(queries))

    def on_shards(self, command: str) -> list[Any]:
        """The result of a command for each shard, in which %s is the shard's table."""
        found = self.all("SELECT success, result FROM run_command_on_shards('items', %s) ORDER BY shardid", command)
        self.assertEqual(len(found), SHARDS)
        for success, result in found:
            self.assertTrue(success, result)
        return [result for _, result in found]

    def check_indexes(self) -> list[str]:
        """Verifies each shard's ivf index against its table; the options of these indexes."""
        index = (
            "FROM pg_index JOIN pg_class c ON c.oid = indexrelid JOIN pg_am a ON a.oid = relam "
            "WHERE indrelid = '%s'::regclass AND amname = 'ivf'"
        )
        checked = self.on_shards(f"SELECT min(ivf_check(indexrelid, true)->>'live') {index}")
        live = self.on_shards("SELECT count(*) FROM %s WHERE embedding IS NOT NULL")
        self.assertEqual(checked, live)
        self.assertEqual(sum(map(int, live)), self.one("SELECT count(*) FROM items"))
        return self.on_shards(f"SELECT min(reloptions::text) {index}")
