-- Joins by distance: the searches for several outer rows are made together.
SET client_min_messages = warning;
CREATE TABLE items (id int PRIMARY KEY, kind int, e vector(8), h halfvec(8), b bit(64));
INSERT INTO items SELECT i, i % 5, v::vector, v::vector::halfvec, ('x' || md5((i % 500)::text))::bit(64)
	FROM (SELECT i, (SELECT array_agg(sin(i * 0.7 + j * (i % 13 + 1))) FROM generate_series(1, 8) j) v
	      FROM generate_series(1, 4000) i) x;
INSERT INTO items SELECT i, i % 5 FROM generate_series(4001, 4010) i;
INSERT INTO items SELECT i, i % 5, array_fill(0, ARRAY[8])::vector, array_fill(0, ARRAY[8])::halfvec, repeat('0', 64)::bit(64)
	FROM generate_series(4011, 4020) i;
CREATE INDEX items_l2 ON items USING ivf (e) WITH (lists = 20);
CREATE INDEX items_cosine ON items USING ivf (e vector_cosine_ops) WITH (lists = 20, bits = 8);
CREATE INDEX items_ip ON items USING ivf (e vector_ip_ops) WITH (lists = 20, bits = 1);
CREATE INDEX half_l1 ON items USING ivf (h halfvec_l1_ops) WITH (lists = 20);
CREATE INDEX bits ON items USING ivf (b bit_hamming_ops) WITH (lists = 5);
CREATE TABLE probes AS SELECT id, kind, e, h, b, 0.05 * (1 + id % 5) AS r FROM items WHERE id % 10 = 7 OR id > 4000;
ANALYZE items; ANALYZE probes;

CREATE FUNCTION plan(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		IF line NOT LIKE '%Disabled:%' THEN RETURN NEXT line; END IF;
	END LOOP;
END $$;
-- Whether the plan has the node, the number of rows, and whether they are those without it and without indexes.
CREATE FUNCTION same(query text) RETURNS TABLE (together bool, rows bigint, equal bool) LANGUAGE plpgsql AS $$
DECLARE line text; fast text[]; single text[]; slow text[]; workers text = current_setting('max_parallel_workers_per_gather');
BEGIN
	together = EXISTS (SELECT FROM plan(query) l WHERE l LIKE '%IvfJoinBatch%');
	EXECUTE format('SELECT array_agg(x::text ORDER BY x::text) FROM (%s) x', query) INTO fast;
	PERFORM set_config('ivf.join_batches', 'off', true);
	EXECUTE format('SELECT array_agg(x::text ORDER BY x::text) FROM (%s) x', query) INTO single;
	PERFORM set_config('enable_indexscan', 'off', true), set_config('enable_material', 'on', true),
		set_config('max_parallel_workers_per_gather', '0', true);
	EXECUTE format('SELECT array_agg(x::text ORDER BY x::text) FROM (%s) x', query) INTO slow;
	PERFORM set_config('enable_indexscan', 'on', true), set_config('ivf.join_batches', 'on', true),
		set_config('enable_material', 'off', true), set_config('max_parallel_workers_per_gather', workers, true);
	rows = coalesce(cardinality(slow), 0);
	equal = fast IS NOT DISTINCT FROM slow AND single IS NOT DISTINCT FROM slow;
	RETURN NEXT;
END $$;
-- The table is so small that comparing all pairs is fast.
SET enable_seqscan = off; SET enable_material = off;

SELECT plan('SELECT a.id, b.id FROM probes a JOIN items b ON a.e <-> b.e < 0.3');
SELECT plan('SELECT a.id FROM probes a WHERE NOT EXISTS (SELECT FROM items b WHERE b.e <=> a.e < 0.0000001 AND b.id > a.id)');
-- Not where the distance differs from row to row, nor with a condition that the index tests, nor for few rows.
SELECT * FROM same('SELECT a.id, b.id FROM probes a JOIN items b ON a.e <-> b.e < a.r');
SELECT * FROM same('SELECT a.id, b.id FROM (SELECT * FROM probes LIMIT 20) a JOIN items b ON a.e <-> b.e < 0.3');
SELECT * FROM same('SELECT a.id, b.id FROM probes a JOIN items b ON a.e <-> b.e < 0.1 OR b.e <-> a.e < 0.2');
SELECT * FROM same('SELECT a.id, b.id FROM probes a JOIN items b ON a.e <-> b.e < 0.3 AND a.e <-> b.e < a.r');
-- Nor for EXISTS that most rows have, which ends at the first row, nor where reading a row locks it.
SELECT * FROM same('SELECT a.id FROM probes a WHERE EXISTS (SELECT FROM items b WHERE a.e <-> b.e < 1)');
SELECT together FROM same('SELECT a.id FROM (SELECT * FROM probes FOR UPDATE SKIP LOCKED) a JOIN items b ON a.e <-> b.e < 0.3');
SET ivf.join_batches = off;
SELECT plan('SELECT a.id, b.id FROM probes a JOIN items b ON a.e <-> b.e < 0.3');
RESET ivf.join_batches;

-- Operators and types
SELECT * FROM same('SELECT a.id, b.id FROM probes a JOIN items b ON a.e <-> b.e < 0.3');
SELECT * FROM same('SELECT a.id, b.id FROM probes a JOIN items b ON b.e <=> a.e < 0.02');
SELECT * FROM same('SELECT a.id, b.id FROM probes a JOIN items b ON 1 - (b.e <=> a.e) > 0.98');
SELECT * FROM same('SELECT a.id, b.id FROM probes a JOIN items b ON b.e <#> a.e < -3.9');
SELECT * FROM same('SELECT a.id, b.id FROM probes a JOIN items b ON b.h <+> a.h < 0.7');
SELECT * FROM same('SELECT a.id, b.id FROM probes a JOIN items b ON b.b <~> a.b < 10');
-- Kinds of joins
SELECT * FROM same('SELECT a.id, b.id FROM probes a LEFT JOIN items b ON a.e <-> b.e < 0.05 AND b.id > a.id');
SELECT * FROM same('SELECT a.id FROM probes a WHERE EXISTS (SELECT FROM items b WHERE a.e <-> b.e < 0.05 AND b.id <> a.id)');
SELECT * FROM same('SELECT a.id FROM probes a WHERE NOT EXISTS (SELECT FROM items b WHERE a.e <-> b.e < 0.05 AND b.id <> a.id)');
SELECT * FROM same('SELECT a.id, b.id FROM probes a JOIN items b ON a.e <-> b.e < 0.3 AND b.kind = a.kind WHERE a.kind < 3 AND b.id % 2 = 1');
SELECT * FROM same('SELECT a.id, b.id, c.id FROM probes a JOIN items b ON a.e <-> b.e < 0.05 JOIN items c ON c.e <-> b.e < 0.05');
SELECT * FROM same('SELECT x.n, a.id, b.id FROM generate_series(1, 3) x (n), LATERAL (SELECT * FROM probes WHERE id % 3 = x.n % 3 OFFSET 0) a JOIN items b ON a.e <-> b.e < 0.1');
SELECT * FROM same('SELECT a.n, b.id FROM (SELECT count(*) AS n, e FROM probes GROUP BY e) a JOIN items b ON a.e <-> b.e < 0.1');
SELECT * FROM same('SELECT x.d, (SELECT count(*) FROM probes a JOIN items b ON a.e <-> b.e < x.d) FROM (VALUES (0.01::float8), (0.2), (NULL), (''NaN''), (0.1)) x (d)');
-- A batch of many rows in little memory, and more rows than there is memory for
SET work_mem = '64kB';
SELECT * FROM same('SELECT a.id, b.id FROM probes a JOIN items b ON a.e <-> b.e < 0.3');
SELECT * FROM same('SELECT count(*) FROM probes a JOIN items b ON a.e <-> b.e < 3');
RESET work_mem;

-- A LIMIT reads few rows ahead.
CREATE FUNCTION analyzed(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF) ' || query LOOP
		IF line LIKE '%Ahead%' THEN RETURN NEXT trim(line); END IF;
	END LOOP;
END $$;
SELECT analyzed('SELECT a.id, b.id FROM probes a JOIN items b ON a.e <-> b.e < 0.3 LIMIT 1');
SELECT analyzed('SELECT a.id, b.id FROM probes a JOIN items b ON a.e <-> b.e < 0.3');

-- Parameters, cursors, changed rows
PREPARE near(float8) AS SELECT count(*) FROM probes a JOIN items b ON a.e <-> b.e < $1;
SET plan_cache_mode = force_generic_plan;
EXECUTE near(0.1); EXECUTE near(0.3); EXECUTE near(NULL);
RESET plan_cache_mode;
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT a.id AS a, b.id AS b FROM probes a JOIN items b ON a.e <-> b.e < 0.01 AND b.id >= a.id;
FETCH 2 FROM c;
DELETE FROM items WHERE id > 100; INSERT INTO items SELECT id + 5000, kind, e FROM probes;
MOVE FORWARD 100 IN c;
FETCH 2 FROM c;
FETCH BACKWARD 2 FROM c;
ROLLBACK;
BEGIN;
SELECT count(*) FROM (SELECT a.id FROM probes a JOIN items b ON a.e <-> b.e < 0.01 FOR UPDATE) x;
UPDATE items b SET kind = 9 FROM probes a WHERE a.e <-> b.e < 0.05;
SELECT count(*) FROM items WHERE kind = 9;
ROLLBACK;
-- In a function of a join's own rows
CREATE FUNCTION around(int) RETURNS bigint LANGUAGE sql STABLE AS
	'SELECT count(*) FROM probes a JOIN items b ON a.e <-> b.e < 0.1 WHERE a.id % 7 = $1 % 7';
SELECT rows, equal FROM same('SELECT a.id, around(b.id) FROM probes a JOIN items b ON a.e <-> b.e < 0.01 WHERE b.id < 200');

-- A search of the same index in between
SELECT * FROM same('SELECT a.id, b.id FROM probes a JOIN items b ON a.e <-> b.e < 0.3 WHERE (SELECT count(*) FROM items c WHERE c.e <-> b.e < 0.01) > 1');
-- An error in the middle of a join, rows that come, and the same join again
CREATE FUNCTION fails() RETURNS bigint LANGUAGE sql VOLATILE AS
	'SELECT sum(1 / (b.id - 177)) FROM probes a JOIN items b ON a.e <-> b.e < 0.3';
CREATE FUNCTION after_an_error() RETURNS TABLE (before bigint, later bigint) LANGUAGE plpgsql AS $$
DECLARE n bigint;
BEGIN
	SELECT count(*) INTO before FROM probes a JOIN items b ON a.e <-> b.e < 0.3;
	FOR i IN 1..3 LOOP
		BEGIN n = fails(); EXCEPTION WHEN division_by_zero THEN NULL; END;
	END LOOP;
	INSERT INTO items SELECT id + 10000, kind, e FROM probes WHERE id <= 4000;
	SELECT count(*) INTO later FROM probes a JOIN items b ON a.e <-> b.e < 0.3;
	RETURN NEXT;
END $$;
BEGIN;
SELECT * FROM after_an_error();
SET LOCAL enable_indexscan = off; SET LOCAL enable_material = on;
SELECT count(*) FROM probes a JOIN items b ON a.e <-> b.e < 0.3;
ROLLBACK;

-- Values of other dimensions are the error that they are without batches.
CREATE TABLE mixed AS SELECT id, e::vector AS e FROM probes;
INSERT INTO mixed SELECT i, '[1,2]' FROM generate_series(1, 20) i;
ANALYZE mixed;
SELECT count(*) FROM mixed a JOIN items b ON a.e <-> b.e < 0.1;
DELETE FROM mixed WHERE vector_dims(e) = 2;
SELECT count(*) FROM mixed a JOIN items b ON a.e <-> b.e < 0.1;

-- Workers
SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0; SET enable_seqscan = on;
SELECT plan('SELECT a.id, b.id FROM probes a JOIN items b ON a.e <-> b.e < 0.3');
SELECT * FROM same('SELECT a.id, b.id FROM probes a JOIN items b ON a.e <-> b.e < 0.3');
DROP TABLE items, probes, mixed;
DROP FUNCTION plan(text), same(text), analyzed(text), around(int), fails(), after_an_error();
