-- Indexes by L1 and Jaccard distance.
SET ivf.recall_target = 1;
CREATE TABLE items (id int PRIMARY KEY, category int, v vector(24), h halfvec(24), b bit(96), long bit(6000));
INSERT INTO items SELECT i, i % 7, v, v, b, CASE WHEN i % 31 = 0 THEN repeat(b::text, 63)::bit(6000) END FROM (
	SELECT i, (SELECT array_agg(sin(i * 0.7 + j * (i % 11 + 1))) FROM generate_series(1, 24) j)::vector(24) v,
		(SELECT string_agg((abs(hashint4(i * 97 + j)) % (i % 3 + 2) = 0)::int::text, '') FROM generate_series(1, 96) j)::bit(96) b
	FROM generate_series(1, 3000) i) x;
INSERT INTO items VALUES (5001, 1, NULL, NULL, NULL, NULL), (5002, 2, NULL, '[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]', repeat('0', 96)::bit(96), repeat('0', 6000)::bit(6000));
CREATE INDEX l1 ON items USING ivf (v vector_l1_ops);
CREATE INDEX l1_filter ON items USING ivf (v vector_l1_ops, category) WITH (lists = 20, bits = 8);
CREATE INDEX half_l1 ON items USING ivf (h halfvec_l1_ops) WITH (lists = 12, bits = 1);
CREATE INDEX jaccard ON items USING ivf (b bit_jaccard_ops, id) WITH (lists = 16);
CREATE INDEX long_jaccard ON items USING ivf (long bit_jaccard_ops);

-- Every order equals the order of a sort of the whole table
CREATE FUNCTION orders(expression text, filter text DEFAULT 'true') RETURNS TABLE (plan text, rows bigint, wrong bigint) LANGUAGE plpgsql AS $$
DECLARE line text; fast float8[]; slow float8[];
BEGIN
	PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_indexscan', 'on', true), set_config('enable_sort', 'off', true);
	FOR line IN EXECUTE format('EXPLAIN (COSTS OFF) SELECT FROM items WHERE %s ORDER BY %s LIMIT 50', filter, expression) LOOP
		IF line LIKE '%Index Scan%' THEN plan := regexp_replace(line, '^\W+', ''); END IF;
	END LOOP;
	EXECUTE format('SELECT array_agg(d) FROM (SELECT %s AS d FROM items WHERE %s ORDER BY %1$s LIMIT 50) x', expression, filter) INTO fast;
	PERFORM set_config('enable_seqscan', 'on', true), set_config('enable_indexscan', 'off', true), set_config('enable_sort', 'on', true);
	EXECUTE format('SELECT array_agg(d) FROM (SELECT %s AS d FROM items WHERE %s ORDER BY %1$s LIMIT 50) x', expression, filter) INTO slow;
	rows := cardinality(array_remove(fast, NULL));
	wrong := (SELECT count(*) FROM generate_subscripts(slow, 1) i WHERE slow[i] IS NOT NULL AND fast[i] IS DISTINCT FROM slow[i]);
	RETURN NEXT;
END $$;
SELECT orders($$v <+> (SELECT v FROM items WHERE id = 5)$$);
SELECT orders($$v <+> (SELECT v FROM items WHERE id = 5)$$, 'category BETWEEN 2 AND 3');
SELECT orders($$v <+> (SELECT v FROM items WHERE id = 5)$$, $$v <+> (SELECT v FROM items WHERE id = 5) < 9$$);
SELECT orders($$h <+> (SELECT h FROM items WHERE id = 77)$$);
SELECT orders($$b <%> (SELECT b FROM items WHERE id = 900)$$);
SELECT orders($$b <%> (SELECT b FROM items WHERE id = 900)$$, 'id < 400');
SELECT orders($$b <%> (SELECT b FROM items WHERE id = 900)$$, $$b <%> (SELECT b FROM items WHERE id = 900) <= 0.7$$);
SELECT orders($$b <%> repeat('0', 96)::bit(96)$$);
SELECT orders($$long <%> (SELECT long FROM items WHERE id = 930)$$);
SELECT count(*) FROM (SELECT FROM items ORDER BY v <+> NULL LIMIT 7) x;

-- Rows with equal Jaccard distance come in heap order, and no value is fetched
SET enable_seqscan = off; SET enable_sort = off;
SELECT count(*), sum((ids.id <> other.id)::int) AS different FROM
	(SELECT id, row_number() OVER () AS n FROM (SELECT id FROM items ORDER BY b <%> repeat('1100', 24)::bit(96) LIMIT 3001) x) ids
	JOIN (SELECT id, row_number() OVER (ORDER BY b <%> repeat('1100', 24)::bit(96), ctid) AS n FROM items WHERE b IS NOT NULL) other USING (n);
SELECT count(*) FROM (SELECT FROM items ORDER BY b <%> repeat('1100', 24)::bit(96) LIMIT 100) x;
SELECT ivf_last_scan() ->> 'heap_rows' AS heap_rows, ivf_last_scan() ->> 'refined' AS refined;
RESET enable_seqscan; RESET enable_sort;

-- Inserts, deletes and new lists
DELETE FROM items WHERE id % 3 = 0;
UPDATE items SET h = h * 2, b = ~b, v = v / 2 WHERE id % 7 = 0;
VACUUM items;
INSERT INTO items SELECT id + 10000, category, v, h, b, long FROM items WHERE id < 500;
SELECT orders($$v <+> (SELECT v FROM items WHERE id = 77)$$);
SELECT orders($$h <+> (SELECT h FROM items WHERE id = 77)$$);
SELECT orders($$b <%> (SELECT b FROM items WHERE id = 902)$$);
SELECT relname, ivf_check(oid, true) ->> 'live' AS rows FROM pg_class WHERE relname IN ('l1', 'l1_filter', 'half_l1', 'jaccard', 'long_jaccard') ORDER BY 1;
SELECT relname, (ivf_maintain(oid, true) ->> 'rows')::int > 50 AS renewed FROM pg_class WHERE relname IN ('l1', 'l1_filter', 'half_l1', 'jaccard', 'long_jaccard') ORDER BY 1;
SELECT orders($$v <+> (SELECT v FROM items WHERE id = 77)$$, 'category = 4');
SELECT orders($$h <+> (SELECT h FROM items WHERE id = 77)$$);
SELECT orders($$b <%> (SELECT b FROM items WHERE id = 902)$$);
SELECT relname, ivf_check(oid, true) ->> 'live' AS rows FROM pg_class WHERE relname IN ('l1', 'l1_filter', 'half_l1', 'jaccard', 'long_jaccard') ORDER BY 1;
SELECT relname, ivf_index_info(oid) ->> 'metric' AS metric, ivf_index_info(oid) ->> 'version' AS version, ivf_index_info(oid) ->> 'bits' AS bits
	FROM pg_class WHERE relname IN ('l1', 'half_l1', 'jaccard') ORDER BY 1;
SELECT (ivf_recall('l1', 20) ->> 'recall')::float > 0.999 AS l1, (ivf_recall('jaccard', 20) ->> 'recall')::float > 0.999 AS jaccard;
RESET ivf.recall_target;
SELECT (ivf_recalibrate('l1_filter') ->> 'queries')::int > 0 AS l1, (ivf_recalibrate('jaccard') ->> 'queries')::int > 0 AS jaccard;
SELECT (ivf_recall('l1_filter') ->> 'recall')::float > 0.9 AS l1, (ivf_recall('half_l1') ->> 'recall')::float > 0.9 AS half_l1,
	(ivf_recall('jaccard') ->> 'recall')::float > 0.9 AS jaccard;

-- Functions called by name are treated as their operators
SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_sort = off;
PREPARE l1(halfvec) AS SELECT id FROM items ORDER BY l1_distance(h, $1) LIMIT 3;
PREPARE jaccard(bit) AS SELECT id FROM items ORDER BY jaccard_distance($1, b) LIMIT 3;
EXPLAIN (COSTS OFF) EXECUTE l1(NULL);
EXPLAIN (COSTS OFF) EXECUTE jaccard(NULL);

-- Errors
SELECT id FROM items ORDER BY v <+> '[1,2]' LIMIT 1;
SELECT id FROM items ORDER BY b <%> B'101' LIMIT 1;
CREATE INDEX ON items USING ivf (b bit_jaccard_ops) WITH (bits = 4);
DROP TABLE items;
DROP FUNCTION orders;

-- Rows all equal, few rows, an index on an empty table, and of one dimension
CREATE TABLE few (v vector(1), b bit(1));
CREATE INDEX few_v ON few USING ivf (v vector_l1_ops);
CREATE INDEX few_b ON few USING ivf (b bit_jaccard_ops);
SELECT count(*) FROM (SELECT FROM few ORDER BY v <+> '[1]' LIMIT 5) x;
INSERT INTO few SELECT ARRAY[i % 3], (i % 2)::bit(1) FROM generate_series(1, 200) i;
SELECT v <+> '[1]' AS d FROM few ORDER BY v <+> '[1]' LIMIT 3;
SELECT b <%> '1' AS d FROM few ORDER BY b <%> '1' LIMIT 3;
SELECT count(*), max(d) FROM (SELECT v <+> '[5]' AS d FROM few ORDER BY 1) x;
UPDATE few SET v = '[2]', b = '0';
REINDEX TABLE few;
SELECT count(*), max(d) FROM (SELECT v <+> '[5]' AS d FROM few ORDER BY 1) x;
SELECT count(*), max(d) FROM (SELECT b <%> '1' AS d FROM few ORDER BY 1) x;
SELECT ivf_check('few_v', true) ->> 'live' AS v, ivf_check('few_b', true) ->> 'live' AS b;
DROP TABLE few;
