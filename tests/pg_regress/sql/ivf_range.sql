-- Range search: a condition on a distance uses the index without an order, and returns all rows.
SET client_min_messages = warning;
CREATE TABLE items (id int PRIMARY KEY, kind int, e vector(8), h halfvec(8), b bit(64));
INSERT INTO items SELECT i, i % 5, v::vector, v::vector::halfvec, ('x' || md5((i % 500)::text))::bit(64)
	FROM (SELECT i, (SELECT array_agg(sin(i * 0.7 + j * (i % 13 + 1))) FROM generate_series(1, 8) j) v
	      FROM generate_series(1, 6000) i) x;
INSERT INTO items SELECT i, i % 5 FROM generate_series(6001, 6020) i;
INSERT INTO items SELECT i, i % 5, array_fill(0, ARRAY[8])::vector, array_fill(0, ARRAY[8])::halfvec, repeat('0', 64)::bit(64)
	FROM generate_series(6021, 6030) i;
CREATE INDEX items_l2 ON items USING ivf (e, kind) WITH (lists = 20);
CREATE INDEX items_cosine ON items USING ivf (e vector_cosine_ops) WITH (lists = 20, bits = 8);
CREATE INDEX items_ip ON items USING ivf (e vector_ip_ops) WITH (lists = 20, bits = 1);
CREATE INDEX half_l2 ON items USING ivf (h halfvec_l2_ops) WITH (lists = 20);
CREATE INDEX half_cosine ON items USING ivf (h halfvec_cosine_ops);
CREATE INDEX half_ip ON items USING ivf (h halfvec_ip_ops);
CREATE INDEX bits ON items USING ivf (b bit_hamming_ops) WITH (lists = 5);
ANALYZE items;
CREATE TABLE probes (id int PRIMARY KEY, kind int, e vector(8), h halfvec(8), b bit(64), r float8);
INSERT INTO probes SELECT id, kind, e, h, b, 0.05 * (1 + id % 5) FROM items WHERE id % 600 = 7;
INSERT INTO probes VALUES (9001);
INSERT INTO probes VALUES (9002, 1, array_fill(0, ARRAY[8])::vector, array_fill(0, ARRAY[8])::halfvec, repeat('0', 64)::bit(64), 0.5);
ANALYZE probes;
SELECT e AS q, b AS bits FROM items WHERE id = 777 \gset

-- The index of a query's plan, the number of its rows, and whether they are those of a sequential scan. All
-- settings by which a scan may be inexact are on.
CREATE FUNCTION same(query text) RETURNS TABLE (index text, rows bigint, equal bool) LANGUAGE plpgsql AS $$
DECLARE line text; fast text[]; slow text[];
BEGIN
	PERFORM set_config('enable_seqscan', 'off', true), set_config('ivf.recall_target', '0.5', true),
		set_config('ivf.probes', '1', true), set_config('ivf.iterative_scan', 'off', true);
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		index := coalesce(index, substring(line FROM 'Index Scan using (\w+) '));
	END LOOP;
	EXECUTE format('SELECT array_agg(x::text ORDER BY x::text) FROM (%s) x', query) INTO fast;
	PERFORM set_config('enable_seqscan', 'on', true), set_config('enable_indexscan', 'off', true);
	EXECUTE format('SELECT array_agg(x::text ORDER BY x::text) FROM (%s) x', query) INTO slow;
	PERFORM set_config('enable_indexscan', 'on', true);
	rows := coalesce(cardinality(fast), 0);
	equal := fast IS NOT DISTINCT FROM slow;
	RETURN NEXT;
END $$;

-- What a plan looks like
CREATE FUNCTION plan(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		RETURN NEXT regexp_replace(line, '''\[[^\]]*\]''', '[q]', 'g');
	END LOOP;
END $$;
SELECT plan(format('SELECT id FROM items WHERE e <-> %L < 0.3', :'q'));
SELECT plan(format('SELECT id FROM items WHERE e <-> %L < 0.3 AND kind = 2 ORDER BY id', :'q'));
SELECT plan('SELECT a.id, b.id FROM probes a JOIN items b ON a.e <-> b.e < 0.3');
SET enable_hashjoin = off; SET enable_mergejoin = off;
SELECT plan('SELECT a.id, b.id FROM probes a LEFT JOIN items b ON a.kind = b.kind AND a.e <-> b.e < a.r');
RESET enable_hashjoin; RESET enable_mergejoin;
-- No plan is worse: the order that the query asks for serves the condition as well.
SELECT plan(format('SELECT id FROM items WHERE e <-> %L < 0.3 ORDER BY e <-> %1$L LIMIT 5', :'q'));
-- A condition that most rows fulfil is not for an index.
SELECT plan(format('SELECT id FROM items WHERE e <-> %L < 100', :'q'));

-- Operators, types, sides
SELECT * FROM same(format('SELECT id FROM items WHERE e <-> %L < 0.3', :'q'));
SELECT * FROM same(format('SELECT id FROM items WHERE 0.3 >= %L <-> e', :'q'));
SELECT * FROM same(format('SELECT id FROM items WHERE l2_distance(%L, e) <= 0.3::float4', :'q'));
SELECT * FROM same(format('SELECT id FROM items WHERE e <=> %L < 0.02', :'q'));
SELECT * FROM same(format('SELECT id FROM items WHERE e <=> %L <= 0.02', :'q'));
SELECT * FROM same(format('SELECT id FROM items WHERE e <#> %L < -3.9', :'q'));
SELECT * FROM same(format('SELECT id FROM items WHERE (e <#> %L) * -1 > 3.9', :'q'));
SELECT * FROM same(format('SELECT id FROM items WHERE h <-> %L < 0.3', :'q'));
SELECT * FROM same(format('SELECT id FROM items WHERE h <=> %L < 0.02', :'q'));
SELECT * FROM same(format('SELECT id FROM items WHERE h <#> %L < -3.9', :'q'));
SELECT * FROM same(format('SELECT id FROM items WHERE b <~> %L < 20', :'bits'));
SELECT * FROM same(format('SELECT id FROM items WHERE 1 / (1 + (e <-> %L)) > 0.8', :'q'));
SELECT * FROM same(format('SELECT id FROM items WHERE -(e <-> %L) >= -0.3', :'q'));
SELECT * FROM same(format('SELECT id FROM items WHERE NOT e <-> %L >= 0.3', :'q'));

-- With other conditions, orders, limits
SELECT * FROM same(format('SELECT id FROM items WHERE e <-> %L < 0.3 AND kind = 2', :'q'));
SELECT * FROM same(format('SELECT id FROM items WHERE e <-> %L < 0.3 AND kind IN (1, 4) AND id %% 3 = 0', :'q'));
SELECT * FROM same(format('SELECT id FROM items WHERE e <-> %L < 0.3 AND e <=> %1$L < 0.001', :'q'));
SELECT * FROM same(format('SELECT id FROM items WHERE e <-> %L < 0.3 AND e <-> (SELECT e FROM items WHERE id = 764) < 0.3', :'q'));
SELECT * FROM same(format('SELECT id FROM items WHERE e <-> %L < 0.3 ORDER BY kind, id LIMIT 7 OFFSET 2', :'q'));
SELECT * FROM same(format('SELECT count(*) FROM (SELECT id FROM items WHERE e <-> %L < 0.3 LIMIT 1000) x', :'q'));
SELECT * FROM same(format('SELECT count(*) FROM (SELECT id FROM items WHERE e <-> %L < 0.3 LIMIT 3) x', :'q'));
SELECT * FROM same(format('SELECT kind, count(*), max(id) FROM items WHERE e <-> %L < 0.3 GROUP BY kind', :'q'));
SELECT * FROM same(format('SELECT id FROM items WHERE e <-> %L < 0.1 UNION SELECT id FROM items WHERE e <=> %1$L < 0.01', :'q'));

-- OR: a search for each distance
SELECT e AS other FROM items WHERE id = 5 \gset
SELECT plan(format('SELECT id FROM items WHERE e <-> %L < 0.1 OR e <-> %L < 0.1', :'q', :'other'));
SELECT * FROM same(format('SELECT id FROM items WHERE e <-> %L < 0.1 OR e <-> (SELECT e FROM items WHERE id = 5) < 0.1', :'q'));
SELECT * FROM same(format('SELECT id FROM items WHERE (e <-> %L < 0.3 OR e <-> (SELECT e FROM items WHERE id = 764) < 0.4) AND kind < 3', :'q'));
SELECT * FROM same(format('SELECT id FROM items WHERE e <-> %L < 0.1 OR e <-> %1$L < 0.3 AND kind = 2', :'q'));
SELECT * FROM same(format('SELECT id FROM items WHERE e <=> %L < 0.01 OR (SELECT NULL::vector) <=> e < 1 OR e <=> ''[1,0,0,0,0,0,0,0]'' < 0.3', :'q'));
SELECT * FROM same(format('SELECT id FROM items WHERE (e <-> %L < 0.2 OR e <-> ''[1,1,1,1,1,1,1,1]'' < 1.5) AND (e <-> %1$L < 0.4 OR e <-> ''[1,1,1,1,1,1,1,1]'' < 1)', :'q'));
SELECT * FROM same(format('SELECT id FROM items WHERE (e <-> %L < 0.2 OR e <-> ''[1,1,1,1,1,1,1,1]'' < 1.5) AND e <-> %1$L < 3', :'q'));
SELECT * FROM same(format('SELECT count(*) FROM (SELECT id FROM items WHERE e <-> %L < 0.3 OR e <-> ''[1,1,1,1,1,1,1,1]'' < 1.5 LIMIT 30) x', :'q'));
SELECT * FROM same('SELECT a.id, b.id FROM probes a JOIN items b ON a.e <-> b.e < 0.1 OR b.e <-> a.h::vector < a.r');
-- Not if a part is not about a distance of the index
SELECT index, equal FROM same(format('SELECT id FROM items WHERE e <-> %L < 0.1 OR kind = 77', :'q'));
SELECT index, equal FROM same(format('SELECT id FROM items WHERE e <-> %L < 0.1 OR e <=> %1$L < 0.01', :'q'));
SELECT index, equal FROM same(format('SELECT id FROM items WHERE e <-> %L < 0.1 OR e <-> %1$L > 5', :'q'));
-- An order by two distances is none of the index's.
SELECT * FROM same(format('SELECT id FROM items ORDER BY e <-> %L, e <-> ''[1,1,1,1,1,1,1,1]'' LIMIT 3', :'q'));

-- Groups of the distance itself: a scan in its order, all rows of it
SELECT * FROM same(format('SELECT e <-> %L, count(*) FROM items WHERE e <-> %1$L < 1 GROUP BY 1', :'q'));
SELECT * FROM same(format('SELECT DISTINCT e <=> %L FROM items WHERE e <=> %1$L < 0.1', :'q'));
SELECT * FROM same(format('SELECT id FROM items WHERE e <-> %L < 0.5 ORDER BY e <-> %1$L', :'q'));

-- Values at which comparisons are special
SELECT r, same.* FROM (VALUES ('0'), ('-1'), ('-0.0'), ('NaN'), ('Infinity'), ('-Infinity'), ('1e300'), ('1e-300')) v (r),
	LATERAL same(format('SELECT id FROM items WHERE e <-> %L < %L::float8', :'q', r));
SELECT o, r, same.* FROM (VALUES ('<'), ('<=')) o (o), (VALUES ('0'), ('NaN'), ('Infinity'), ('2')) v (r),
	LATERAL same(format('SELECT id FROM items WHERE e <=> %L %s %L::float8', :'q', o, r));
SELECT r, same.* FROM (VALUES ('0'), ('NaN'), ('Infinity'), ('-Infinity')) v (r),
	LATERAL same(format('SELECT id FROM items WHERE e <#> %L <= %L::float8', :'q', r));
SELECT * FROM same(format('SELECT id FROM items WHERE e <-> %L < NULL', :'q'));
SELECT * FROM same('SELECT id FROM items WHERE e <-> NULL < 0.3');
-- No row passes a NULL bound: no list need be read
SELECT * FROM same(format('SELECT id FROM items WHERE e <-> %L < (SELECT r FROM probes WHERE id = 9001)', :'q'));
SET enable_seqscan = off;
SELECT count(*) FROM items WHERE e <-> :'q' < (SELECT r + 1 FROM probes WHERE id = 9001);
SELECT (ivf_last_scan() ->> 'codes')::int AS codes;
RESET enable_seqscan;
SELECT * FROM same(format('SELECT id FROM items WHERE e <-> (SELECT NULL::vector WHERE %L <> '''') < 0.3', :'q'));
SELECT * FROM same('SELECT id FROM items WHERE e <=> ''[0,0,0,0,0,0,0,0]'' < 3');
SELECT * FROM same('SELECT id FROM items WHERE e <-> ''[0,0,0,0,0,0,0,0]'' <= 0');
-- Zero vectors have no cosine distance, and are not in its index. PostgreSQL treats NaN as a large number, so
-- they are similar to everything.
SELECT * FROM same(format('SELECT id FROM items WHERE 1 - (e <=> %L) > 0.99', :'q'));
SELECT * FROM same(format('SELECT id FROM items WHERE e <=> %L < 1 - 0.99', :'q'));

-- A vector of other dimensions is an error where a row is compared
SET enable_seqscan = off;
SELECT id FROM items WHERE e <-> '[1,2,3]' < 0.3;
SELECT id FROM items WHERE e <-> '[1,2,3]' < 0.3 AND kind = 77;
RESET enable_seqscan;

-- Joins
SELECT * FROM same('SELECT a.id, b.id FROM probes a JOIN items b ON a.e <-> b.e < 0.3');
SELECT * FROM same('SELECT a.id, b.id FROM probes a JOIN items b ON b.e <=> a.e < 0.02');
SELECT * FROM same('SELECT a.id, b.id FROM probes a JOIN items b ON b.e <#> a.e < -3.9');
SELECT * FROM same('SELECT a.id, b.id FROM probes a JOIN items b ON a.h <-> b.h <= 0.3');
SELECT * FROM same('SELECT a.id, b.id FROM probes a JOIN items b ON b.b <~> a.b < 10');
SELECT * FROM same('SELECT a.id, b.id FROM probes a JOIN items b ON a.e <-> b.e < a.r');
SELECT * FROM same('SELECT a.id, b.id FROM probes a JOIN items b ON a.e <-> b.e < a.r AND a.kind = b.kind');
SELECT * FROM same('SELECT a.id, b.id FROM probes a LEFT JOIN items b ON a.e <-> b.e < 0.05 AND b.id > a.id');
SELECT * FROM same('SELECT b.id, a.id FROM items b LEFT JOIN probes a ON a.e <-> b.e < 0.05');
SELECT * FROM same('SELECT a.id, b.id FROM items a JOIN items b ON a.e <-> b.e < 0.1 AND a.id < b.id WHERE a.id < 300');
SELECT * FROM same('SELECT a.id FROM probes a WHERE EXISTS (SELECT FROM items b WHERE a.e <-> b.e < 0.05 AND b.id <> a.id)');
SELECT * FROM same('SELECT a.id FROM probes a WHERE NOT EXISTS (SELECT FROM items b WHERE a.e <-> b.e < 0.05 AND b.id <> a.id)');
SELECT * FROM same('SELECT a.id, (SELECT count(*) FROM items b WHERE a.e <-> b.e < a.r) FROM probes a');
SELECT * FROM same('SELECT a.id, n FROM probes a, LATERAL (SELECT count(*) AS n FROM items b WHERE a.e <-> b.e < a.r) x');
SELECT * FROM same('SELECT a.id, x.id FROM probes a, LATERAL (SELECT b.id FROM items b WHERE a.e <-> b.e < a.r ORDER BY b.id LIMIT 3) x');
SELECT * FROM same('SELECT a.id, b.id, c.id FROM probes a JOIN items b ON a.e <-> b.e < 0.1 JOIN items c ON c.e <-> b.e < 0.1 WHERE c.id < b.id');
SELECT * FROM same('SELECT a.id, b.id FROM probes a JOIN items b ON a.e <-> b.e < 0.3 AND b.e <-> a.e < 0.2 AND b.id = a.id');

-- Parameters
SET plan_cache_mode = force_generic_plan;
PREPARE near(vector, float8) AS SELECT count(*), min(id), max(id) FROM items WHERE e <-> $1 < $2;
PREPARE cosine(vector, float8) AS SELECT count(*), min(id), max(id) FROM items WHERE e <=> $1 <= $2;
EXPLAIN (COSTS OFF) EXECUTE near(:'q', 0.3);
EXECUTE near(:'q', 0.3);
EXECUTE near(:'q', 'NaN');
EXECUTE near(:'q', NULL);
EXECUTE near(NULL, 1);
EXECUTE cosine(:'q', 0.01);
EXECUTE cosine(:'q', 'NaN');
SET enable_indexscan = off;
EXECUTE near(:'q', 0.3);
EXECUTE near(:'q', 'NaN');
EXECUTE cosine(:'q', 0.01);
EXECUTE cosine(:'q', 'NaN');
RESET enable_indexscan;
RESET plan_cache_mode;

-- Writing
SET enable_seqscan = off;
BEGIN;
WITH u AS (UPDATE items SET kind = 100, e = e WHERE e <-> :'q' < 0.3 RETURNING id) SELECT count(*) FROM u;
SELECT count(*), min(kind), max(kind) FROM items WHERE e <-> :'q' < 0.3;
SAVEPOINT merge;
MERGE INTO items t USING probes p ON t.e <-> p.e <= 0 AND t.kind = p.kind
	WHEN MATCHED THEN UPDATE SET kind = 200 WHEN NOT MATCHED THEN INSERT (id, kind) VALUES (p.id + 100000, 300);
SELECT kind, count(*) FROM items WHERE kind >= 200 GROUP BY kind ORDER BY kind;
ROLLBACK TO merge;
SET LOCAL enable_indexscan = off; SET LOCAL enable_seqscan = on;
MERGE INTO items t USING probes p ON t.e <-> p.e <= 0 AND t.kind = p.kind
	WHEN MATCHED THEN UPDATE SET kind = 200 WHEN NOT MATCHED THEN INSERT (id, kind) VALUES (p.id + 100000, 300);
SELECT kind, count(*) FROM items WHERE kind >= 200 GROUP BY kind ORDER BY kind;
ROLLBACK TO merge;
WITH d AS (DELETE FROM items a USING probes p WHERE a.e <-> p.e < 0.1 RETURNING a.id) SELECT count(*) FROM d;
SELECT count(*) FROM items a, probes p WHERE a.e <-> p.e < 0.1;
ROLLBACK;
RESET enable_seqscan;

-- Partitions, a partial index, an expression index
CREATE TABLE parts (LIKE items) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (2000);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (2000) TO (10000);
INSERT INTO parts SELECT * FROM items;
CREATE INDEX ON parts USING ivf (e);
CREATE INDEX ON items USING ivf ((h::vector(8))) WHERE kind = 3;
ANALYZE parts; ANALYZE items;
SELECT * FROM same(format('SELECT id FROM parts WHERE e <-> %L < 0.3', :'q'));
SELECT * FROM same('SELECT a.id, b.id FROM probes a JOIN parts b ON a.e <-> b.e < 0.2');
SELECT * FROM same(format('SELECT id FROM items WHERE h::vector(8) <-> %L < 0.3 AND kind = 3', :'q'));
SELECT * FROM same(format('SELECT id FROM items WHERE h::vector(8) <-> %L < 0.3 AND kind = 2', :'q'));

-- Pages of rows from partitions and from UNION ALL. A page that begins after the last expected row costs as much
-- by a Merge Append, whose rows have an order that the page does not need.
CREATE FUNCTION pages(query text) RETURNS TABLE (rows bigint, right_pages bigint) LANGUAGE plpgsql AS $$
DECLARE n bigint;
BEGIN
	EXECUTE format('SELECT count(*) FROM (%s) x', query) INTO rows;
	right_pages = 0;
	FOR i IN 1..40 LOOP
		EXECUTE format('SELECT count(*) FROM (%s LIMIT 3 OFFSET %s) x', query, i) INTO n;
		right_pages = right_pages + (n = least(greatest(rows - i, 0), 3))::int;
	END LOOP;
	RETURN NEXT;
END $$;
SELECT * FROM pages(format('SELECT id FROM parts WHERE e <-> %L < 0.001', :'q'));
SELECT * FROM pages(format('SELECT id FROM parts WHERE e <-> %L < 0.3', :'q'));
SELECT * FROM pages(format('SELECT id FROM parts WHERE e <-> %L < 0.1 OR e <-> (SELECT e FROM probes WHERE id = 607) < 0.1', :'q'));
SELECT * FROM pages(format('SELECT id FROM (SELECT id, e FROM items UNION ALL SELECT id, e FROM parts_2) u WHERE e <-> %L < 0.01', :'q'));
SELECT * FROM pages(format('SELECT id FROM (SELECT id, e FROM items UNION ALL SELECT id, e FROM probes) u WHERE e <-> %L < 0.01', :'q'));
SELECT * FROM pages('SELECT a.id, b.id FROM probes a JOIN parts b ON a.e <-> b.e < 0.02');
SELECT * FROM pages(format('SELECT id FROM parts WHERE e <-> %L < 0.1 ORDER BY 1 - (e <-> %1$L) DESC', :'q'));
DROP FUNCTION pages;

-- After deletes, inserts and VACUUM
DELETE FROM items WHERE id % 7 = 0;
INSERT INTO items SELECT id + 10000, kind, e, h, b FROM items WHERE id % 11 = 0;
SELECT * FROM same(format('SELECT id FROM items WHERE e <-> %L < 0.3', :'q'));
VACUUM items;
SELECT * FROM same(format('SELECT id FROM items WHERE e <-> %L < 0.3', :'q'));
SELECT * FROM same(format('SELECT id FROM items WHERE e <#> %L < -3.9', :'q'));
SELECT * FROM same('SELECT a.id, b.id FROM probes a JOIN items b ON a.e <-> b.e < 0.3');
-- A policy's condition comes before the user's, so that no scan tells where hidden rows are.
CREATE ROLE ivf_range_reader;
ALTER TABLE items ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_kind ON items USING (kind = 1);
GRANT SELECT ON items TO ivf_range_reader;
SET ROLE ivf_range_reader;
SET enable_seqscan = off;
SELECT count(*) > 0 AS by_index FROM plan(format('SELECT id FROM items WHERE e <-> %L < 0.3', :'q')) p WHERE p LIKE '%items_l2%';
SELECT plan(format('SELECT id FROM items WHERE e <-> %L < 0.3 ORDER BY e <-> %1$L LIMIT 5', :'q'));
RESET enable_seqscan;
RESET ROLE;
DROP TABLE items, probes, parts;
DROP ROLE ivf_range_reader;
DROP FUNCTION same, plan;
