"""How the recall target reaches the workers. `probes = 1` makes an index that misses rows, so that a setting
which arrives is seen by what is found."""

from cluster import CitusTest, made_up_queries

POOR = 0.8


class Settings(CitusTest):
    spread = 4.0

    def setUp(self) -> None:
        self.queries = made_up_queries(self.rows, 30)
        self.db.execute("ALTER INDEX items_index SET (probes = 1)")
        self.assertLess(self.recall(self.queries), POOR)

    def tearDown(self) -> None:
        self.db.execute("ALTER INDEX items_index RESET (probes, recall_target)")

    def test_option_of_the_index(self) -> None:
        self.db.execute("ALTER INDEX items_index RESET (probes)")
        self.db.execute("ALTER INDEX items_index SET (recall_target = 1)")
        self.assertEqual(self.recall(self.queries), 1)
        self.assertTrue(all("recall_target=1" in options for options in self.check_indexes()))

    def test_setting_of_the_database(self) -> None:
        self.db.execute("ALTER DATABASE app SET ivf.recall_target = 1")
        self.addCleanup(self.db.execute, "ALTER DATABASE app RESET ivf.recall_target")
        # Only for sessions that begin afterwards.
        self.assertLess(self.recall(self.queries), POOR)
        with self.cluster.connect() as later:
            self.assertEqual(self.recall(self.queries, later), 1)

    def test_setting_of_a_session(self) -> None:
        self.addCleanup(self.db.execute, "RESET ivf.recall_target")
        self.db.execute("SET ivf.recall_target = 1")
        self.assertLess(self.recall(self.queries), POOR)

    def test_setting_of_a_transaction(self) -> None:
        with self.db.transaction():
            self.db.execute("SET LOCAL ivf.recall_target = 1")
            self.assertLess(self.recall(self.queries), POOR)
        with self.db.transaction():
            self.db.execute("SET LOCAL citus.propagate_set_commands = 'local'")
            self.db.execute("SET LOCAL ivf.recall_target = 1")
            self.assertEqual(self.recall(self.queries), 1)
        self.assertLess(self.recall(self.queries), POOR)
