"""Queries over a distributed table: what each shard does, and the rows against arithmetic of our own."""

import re

import numpy as np
import psycopg
from cluster import CATEGORIES, LISTS, ROWS, SHARDS, CitusTest, distances, made_up_queries, text

NEAREST = "SELECT id, embedding <-> %s AS d FROM items ORDER BY embedding <-> %s LIMIT 10"


class Queries(CitusTest):
    def setUp(self) -> None:
        self.queries = made_up_queries(self.rows, 40)
        self.query = self.queries[0]
        self.numbers = np.arange(ROWS)

    def each_shard(self, plan: str, *lines: str) -> None:
        """Asserts that the lines are in each shard's plan."""
        self.assertIn(f"Task Count: {SHARDS}", plan)
        for line in lines:
            self.assertEqual(len(re.findall(line, plan)), SHARDS, f"{line} in\n{plan}")

    def test_limit_is_pushed_to_each_shard_and_order_is_exact(self) -> None:
        self.each_shard(
            self.plan(NEAREST, text(self.query), text(self.query)),
            r"->  Limit\n",
            r"->  Index Scan using items_index_\d+ on public\.items_\d+",
            r"Order By: \(items\.embedding <-> ",
        )
        for query in self.queries:
            found = self.all(NEAREST, query, query)
            measured = distances(self.rows, query)
            self.assertEqual(len(found), 10)
            self.assertEqual([d for _, d in found], sorted(d for _, d in found))
            np.testing.assert_allclose([d for _, d in found], measured[[row for row, _ in found]], rtol=1e-6)

    def test_recall_is_that_of_the_target(self) -> None:
        # The target is .95; a thousand rows, found or not, leave an error of some hundredths.
        self.assertGreaterEqual(self.recall(made_up_queries(self.rows, 100)), 0.93)

    def test_offset(self) -> None:
        plan = self.plan("SELECT id FROM items ORDER BY embedding <-> %s LIMIT 10 OFFSET 20", text(self.query))
        self.each_shard(plan, r"LIMIT '30'::bigint", r"->  Index Scan using items_index_")

    def test_prepared_statements(self) -> None:
        asked = "SELECT id FROM items ORDER BY embedding <-> %s LIMIT 10"
        # More than the five after which PostgreSQL may choose a generic plan.
        for query in self.queries[:12]:
            prepared = self.db.execute(asked, [query], prepare=True).fetchall()
            plain = self.db.execute(asked.replace("%s", f"'{text(query)}'")).fetchall()
            self.assertEqual(prepared, plain)
        # Citus has no generic plans of queries over all shards, with any condition.
        self.addCleanup(self.db.execute, "RESET plan_cache_mode")
        self.db.execute("SET plan_cache_mode = force_generic_plan")
        for asked, argument in (asked, self.query), ("SELECT id FROM items WHERE category = %s", 7):
            with self.assertRaisesRegex(psycopg.errors.FeatureNotSupported, "could not create distributed plan"):
                self.db.execute(asked, [argument], prepare=True)

    def test_filters(self) -> None:
        condition = "category = 7"
        asked = f"SELECT id FROM items WHERE {condition} ORDER BY embedding <-> %s LIMIT 10"
        self.each_shard(
            self.plan(asked, text(self.query)),
            r"->  Limit\n",
            r"->  Index Scan using items_index_",
            r"Index Cond: \(items\.category = 7\)",
        )
        for condition, passing in [
            (condition, self.numbers % CATEGORIES == 7),
            ("category IN (3, 4) OR category > 40", np.isin(self.numbers % CATEGORIES, [3, 4, 41, 42, 43, 44])),
            ("category = 7 AND id < 2000", (self.numbers % CATEGORIES == 7) & (self.numbers < 2000)),
            ("category = 7 AND id = 52", self.numbers == 52),
        ]:
            hits = 0
            for query in self.queries:
                found = self.all(f"SELECT id FROM items WHERE {condition} ORDER BY embedding <-> %s LIMIT 10", query)
                true = self.nearest(query, 10, passing)
                self.assertEqual(len(found), len(true), condition)
                self.assertTrue(passing[found].all(), condition)
                hits += len(set(found) & set(true)) / len(true)
            self.assertGreaterEqual(hits / len(self.queries), 0.93, condition)

    def test_thresholds_find_all_rows(self) -> None:
        counted = 0
        for query in self.queries:
            measured = distances(self.rows, query)
            # Between two rows, so that rounding does not decide.
            near = np.sort(measured)
            below = float((near[49] + near[50]) / 2)
            asked = "SELECT id FROM items WHERE embedding <-> %s < %s"
            found = self.all(asked, query, below)
            self.assertEqual(sorted(found), sorted(np.flatnonzero(measured < below)))
            passing = self.numbers % CATEGORIES < 20
            found = self.all(f"{asked} AND category < 20 ORDER BY embedding <-> %s LIMIT 1000", query, below, query)
            self.assertEqual(found, self.nearest(query, int((passing & (measured < below)).sum()), passing))
            counted += len(found)
        self.assertGreater(counted, 100)
        plan = self.plan("SELECT id FROM items WHERE embedding <-> %s < 1.5", text(self.query))
        self.each_shard(plan, r"->  Index Scan using items_index_", r"embedding <-> '[^']+'::vector\) < '1.5'")

    def test_order_by_similarity(self) -> None:
        asked = "SELECT id FROM items WHERE embedding IS NOT NULL ORDER BY 1 - (embedding <-> %s) DESC LIMIT 10"
        self.each_shard(
            self.plan(asked, text(self.query)), r"->  Limit\n", r"->  Index Scan using items_index_"
        )
        plain = "SELECT id FROM items ORDER BY embedding <-> %s LIMIT 10"
        for query in self.queries[:5]:
            self.assertEqual(self.all(asked, query), self.all(plain, query))

    def test_averages_are_combined(self) -> None:
        plan = self.plan("SELECT avg(embedding), sum(embedding) FROM items")
        self.each_shard(plan, r"->  Aggregate\n")
        read = lambda value: np.array(value.strip("[]").split(","), dtype="f8")
        average, total = self.one("SELECT avg(embedding), sum(embedding) FROM items")
        true = self.rows.astype("f8")
        np.testing.assert_allclose(read(average), true.mean(axis=0), atol=1e-5)
        np.testing.assert_allclose(read(total), true.sum(axis=0), atol=0.05)
        groups = self.all("SELECT category, avg(embedding) FROM items GROUP BY category ORDER BY category")
        self.assertEqual(len(groups), CATEGORIES)
        for category, average in groups:
            members = true[self.numbers % CATEGORIES == category]
            np.testing.assert_allclose(read(average), members.mean(axis=0), atol=1e-5)

    def test_query_from_another_row(self) -> None:
        # By a materialized subquery: Citus fetches it, and sends it to the shards.
        found = self.all(
            "WITH q AS MATERIALIZED (SELECT embedding FROM items WHERE id = 5) "
            "SELECT i.id FROM items i, q ORDER BY i.embedding <-> q.embedding LIMIT 10"
        )
        self.assertEqual(found, self.nearest(self.rows[5], 10))
        for asked in [
            "SELECT id FROM items ORDER BY embedding <-> (SELECT embedding FROM items WHERE id = 5) LIMIT 10",
            "SELECT a.id, n.id FROM (SELECT * FROM items WHERE id < 3) a, "
            "LATERAL (SELECT id FROM items b ORDER BY b.embedding <-> a.embedding LIMIT 2) n",
        ]:
            with self.assertRaisesRegex(psycopg.errors.FeatureNotSupported, "complex joins are only supported"):
                self.db.execute(asked)

    def test_join_with_a_reference_table(self) -> None:
        self.db.execute("CREATE TABLE names (category int PRIMARY KEY, name text)")
        self.addCleanup(self.db.execute, "DROP TABLE names")
        self.db.execute("SELECT create_reference_table('names')")
        self.db.execute("INSERT INTO names SELECT i, 'name ' || i FROM generate_series(0, 4) i")
        found = self.all(
            "SELECT i.id FROM items i JOIN names n USING (category) WHERE n.name <> 'name 3' "
            "ORDER BY i.embedding <-> %s LIMIT 10",
            self.query,
        )
        passing = np.isin(self.numbers % CATEGORIES, [0, 1, 2, 4])
        self.assertGreaterEqual(len(set(found) & set(self.nearest(self.query, 10, passing))), 8)

    def test_array_into_vector_needs_a_cast(self) -> None:
        # Citus builds the assignment cast of an INSERT ... SELECT with one argument; array_to_vector has three.
        self.db.execute("CREATE TABLE copies (id bigint, embedding vector(2))")
        self.addCleanup(self.db.execute, "DROP TABLE copies")
        self.db.execute("SELECT create_distributed_table('copies', 'id')")
        with self.assertRaisesRegex(psycopg.errors.InternalError_, "default arguments|proargdefaults"):
            self.db.execute("INSERT INTO copies SELECT i, ARRAY[i, 1::float8] FROM generate_series(1, 3) i")
        self.db.execute("INSERT INTO copies SELECT i, ARRAY[i, 1::float8]::vector FROM generate_series(1, 3) i")
        self.assertEqual(self.one("SELECT sum(embedding)::text FROM copies"), "[6,3]")

    def test_functions_of_an_index_run_on_shards(self) -> None:
        # The coordinator's own index is empty.
        self.assertEqual(self.one("SELECT ivf_index_info('items_index')->>'live_rows'"), "0")
        self.assertEqual(set(self.check_indexes()), {f"{{lists={LISTS}}}"})
        info = self.on_shards(
            "SELECT ivf_index_info(indexrelid)->>'live_rows' FROM pg_index "
            "WHERE indrelid = '%s'::regclass AND indexrelid::regclass::text LIKE 'items_index%%'"
        )
        self.assertEqual(sum(map(int, info)), ROWS)

    def test_distributed_by_the_vector(self) -> None:
        # By its hash: equal vectors are together, near ones are not.
        self.db.execute("CREATE TABLE pieces (id bigint, embedding vector(2))")
        self.addCleanup(self.db.execute, "DROP TABLE pieces")
        self.db.execute("SELECT create_distributed_table('pieces', 'embedding')")
        self.db.execute(
            "INSERT INTO pieces SELECT i, ARRAY[i % 50, 1::float8]::vector FROM generate_series(1, 500) i"
        )
        self.assertEqual(self.one("SELECT count(*) FROM pieces WHERE embedding = '[7,1]'"), 10)
        near = self.all("SELECT embedding::text FROM pieces ORDER BY embedding <-> '[7,1]' LIMIT 11")
        self.assertEqual(near[:10], ["[7,1]"] * 10)
        self.assertIn(near[10], ["[6,1]", "[8,1]"])
