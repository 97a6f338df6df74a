"""Writes, moves of shards, and workers that fail."""

import threading
import time

import psycopg
from cluster import LISTS, ROWS, SHARDS, CitusTest, made_up_queries, text

NEAREST = "SELECT id FROM items ORDER BY embedding <-> %s LIMIT 10"
PLACES = (
    "SELECT s.shardid, nodeport FROM pg_dist_shard s JOIN pg_dist_shard_placement USING (shardid) "
    "WHERE logicalrelid = 'items'::regclass ORDER BY 1"
)


class Changes(CitusTest):
    workers = 3

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        # A moved shard has a new index, which may miss other rows. With this target none misses any.
        cls.db.execute("ALTER INDEX items_index SET (recall_target = 1)")

    def setUp(self) -> None:
        self.queries = made_up_queries(self.rows, 20)

    def assert_right_answers(self) -> None:
        for query in self.queries:
            self.assertEqual(self.all(NEAREST, query), self.nearest(query, 10))
        self.assertEqual(set(self.check_indexes()), {f"{{lists={LISTS},recall_target=1}}"})
        plan = self.plan(NEAREST, text(self.queries[0]))
        self.assertEqual(plan.count("->  Index Scan using items_index_"), SHARDS, plan)

    def other(self, port: int) -> int:
        return next(node.port for node in self.cluster.nodes[1:] if node.port != port)

    def test_writes(self) -> None:
        here = text(self.queries[0])
        self.db.execute("INSERT INTO items SELECT i, 1, %s::vector FROM generate_series(100000, 100009) i", [here])
        self.assertEqual(sorted(self.all(NEAREST, here)), list(range(100000, 100010)))
        self.db.execute("UPDATE items SET embedding = %s WHERE id = 100003", [text(self.rows[0] + 50)])
        self.assertNotIn(100003, self.all(NEAREST, here))
        self.db.execute("DELETE FROM items WHERE embedding <-> %s < 1e-6", [here])
        self.db.execute("DELETE FROM items WHERE id = 100003")
        self.db.execute("VACUUM items")
        self.assert_right_answers()

    def test_index_is_built_and_rebuilt_without_locks(self) -> None:
        self.db.execute("REINDEX INDEX items_index")
        self.db.execute("REINDEX INDEX CONCURRENTLY items_index")
        self.db.execute("CREATE INDEX CONCURRENTLY items_cosine ON items USING ivf (embedding vector_cosine_ops)")
        cosine = "SELECT id FROM items ORDER BY embedding <=> %s LIMIT 10"
        plan = self.plan(cosine, text(self.queries[0]))
        self.assertEqual(plan.count("->  Index Scan using items_cosine_"), SHARDS, plan)
        self.db.execute("DROP INDEX items_cosine")
        self.check_indexes()

    def test_shards_move_with_their_indexes(self) -> None:
        for mode in "block_writes", "force_logical":
            shard, port = self.all(PLACES)[0]
            to = self.other(port)
            move = "SELECT citus_move_shard_placement(%s, '127.0.0.1', %s, '127.0.0.1', %s, %s)"
            self.db.execute(move, [shard, port, to, mode])
            self.assertEqual(dict(self.all(PLACES))[shard], to)
            self.assert_right_answers()

    def test_a_shard_moves_while_it_is_written(self) -> None:
        written, stop = [], threading.Event()

        def write() -> None:
            with self.cluster.connect() as db:
                number = 200000
                while not stop.is_set():
                    row = self.rows[number % ROWS] + 9
                    db.execute("INSERT INTO items VALUES (%s, 5, %s)", [number, row])
                    written.append(number)
                    number += 1

        writer = threading.Thread(target=write)
        writer.start()
        try:
            shard, port = self.all(PLACES)[0]
            move = "SELECT citus_move_shard_placement(%s, '127.0.0.1', %s, '127.0.0.1', %s, 'force_logical')"
            self.db.execute(move, [shard, port, self.other(port)])
        finally:
            stop.set()
            writer.join()
        self.assertGreater(len(written), 100)
        self.check_indexes()
        self.assertEqual(self.one("SELECT count(*) FROM items WHERE id >= 200000"), len(written))
        # The index finds each of them.
        for number in written[:: len(written) // 50]:
            near = self.all("SELECT id FROM items ORDER BY embedding <-> %s LIMIT 1", self.rows[number % ROWS] + 9)
            self.assertEqual(near, [number])
        self.db.execute("DELETE FROM items WHERE id >= 200000")
        self.db.execute("VACUUM items")
        self.assert_right_answers()

    def test_a_worker_is_drained_and_the_table_rebalanced(self) -> None:
        port = self.cluster.nodes[3].port
        self.db.execute("SELECT citus_drain_node('127.0.0.1', %s)", [port])
        self.assertNotIn(port, dict(self.all(PLACES)).values())
        self.assert_right_answers()
        self.db.execute("SELECT citus_set_node_property('127.0.0.1', %s, 'shouldhaveshards', true)", [port])
        self.db.execute("SELECT rebalance_table_shards('items')")
        self.assertIn(port, dict(self.all(PLACES)).values())
        self.assert_right_answers()

    def test_a_worker_that_dies(self) -> None:
        ports = list(dict(self.all(PLACES)).values())
        dead = next(node for node in self.cluster.nodes[1:] if node.port in ports)
        dead.stop("immediate")
        try:
            for _ in range(3):
                with self.assertRaises(psycopg.OperationalError) as failure:
                    self.db.execute(NEAREST, [text(self.queries[0])])
                self.assertRegex(str(failure.exception), rf"connection to the remote node \S+:{dead.port} failed|"
                                 r"terminating connection|server closed the connection")
            # A new session has no connection that could be broken: it says which worker.
            with self.cluster.connect() as db:
                with self.assertRaisesRegex(psycopg.OperationalError, rf"remote node \S+:{dead.port} failed"):
                    db.execute(NEAREST, [text(self.queries[0])])
        finally:
            dead.start()
        self.wait_for(dead.port)
        self.assert_right_answers()

    def wait_for(self, port: int) -> None:
        """Until a session that lost its connections has made new ones."""
        until = time.monotonic() + 60
        while True:
            try:
                self.db.execute(NEAREST, [text(self.queries[0])])
                return
            except psycopg.OperationalError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.5)
