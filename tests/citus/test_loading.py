"""The order of the libraries, since both Citus and vector_search have hooks in the planner and in commands;
and the extension `vector`."""

import re
import unittest

import psycopg
from cluster import SHARDS, CitusTest, Node, made_up_queries, text

NEAREST = "SELECT id FROM items ORDER BY embedding <-> %s LIMIT 10"


class WrongOrder(unittest.TestCase):
    def test_citus_must_be_first(self) -> None:
        node = Node("order", "vector_search, citus")
        self.addCleanup(node.remove)
        started = node.try_start()
        self.assertNotEqual(started.returncode, 0)
        self.assertIn("Citus has to be loaded first", started.stdout)


class Preloaded(CitusTest):
    """vector_search is loaded when the servers start, rather than when a session first needs it."""

    preload = "citus, vector_search"

    def test_plans_and_answers(self) -> None:
        (query, *others) = made_up_queries(self.rows, 100)
        for condition in "", "WHERE category = 7", "WHERE embedding <-> '%s' < 6" % text(query):
            plan = self.plan(NEAREST.replace("ORDER", f"{condition} ORDER"), text(query))
            self.assertEqual(plan.count("->  Index Scan using items_index_"), SHARDS, plan)
            self.assertEqual(plan.count("->  Limit\n"), SHARDS, plan)
        self.assertGreaterEqual(self.recall(others), 0.93)
        found = self.all("SELECT id FROM items WHERE category = 7 ORDER BY embedding <-> %s LIMIT 10", query)
        self.assertEqual([row % 45 for row in found], [7] * 10)

    def test_apps_for_pgvector(self) -> None:
        self.db.execute("CREATE EXTENSION vector")
        extensions = "SELECT string_agg(extname, ' ' ORDER BY extname) FROM pg_extension WHERE extname LIKE 'vector%'"
        everywhere = self.all("SELECT result FROM run_command_on_all_nodes(%s)", extensions)
        self.assertEqual(everywhere, ["vector vector_search"] * len(self.cluster.nodes))
        with self.cluster.connect() as db:
            db.execute("CREATE INDEX items_hnsw ON items USING hnsw (embedding vector_cosine_ops) WITH (m = 16)")
            with db.transaction():
                db.execute("SET LOCAL citus.propagate_set_commands = 'local'")
                db.execute("SET LOCAL hnsw.ef_search = 200")
                seen = db.execute("SELECT DISTINCT current_setting('hnsw.ef_search') FROM items").fetchall()
                self.assertEqual(seen, [("200",)])
        query = made_up_queries(self.rows, 1)[0]
        plan = self.plan("SELECT id FROM items ORDER BY embedding <=> %s LIMIT 10", text(query))
        self.assertEqual(len(re.findall("->  Index Scan using items_hnsw_", plan)), SHARDS, plan)
        self.db.execute("DROP INDEX items_hnsw")
        self.db.execute("DROP EXTENSION vector")
        self.assertEqual(
            self.all("SELECT result FROM run_command_on_all_nodes(%s)", extensions),
            ["vector_search"] * len(self.cluster.nodes),
        )
        with self.assertRaises(psycopg.errors.UndefinedObject):
            self.db.execute("CREATE INDEX ON items USING hnsw (embedding vector_cosine_ops)")
