-- Indexes over halfvec and bit, plain and as expressions.
SET ivf.recall_target = 1;
CREATE TABLE items (id int PRIMARY KEY, v vector(24), h halfvec(24), b bit(96));
INSERT INTO items SELECT i, v, v, b FROM (
	SELECT i, (SELECT array_agg(sin(i * 0.7 + j * (i % 11 + 1))) FROM generate_series(1, 24) j)::vector(24) v,
		(SELECT string_agg((abs(hashint4(i * 97 + j)) % (i % 3 + 2) = 0)::int::text, '') FROM generate_series(1, 96) j)::bit(96) b
	FROM generate_series(1, 3000) i) x;
CREATE INDEX half_l2 ON items USING ivf (h);
CREATE INDEX half_cosine ON items USING ivf (h halfvec_cosine_ops) WITH (lists = 20);
CREATE INDEX half_ip ON items USING ivf (h halfvec_ip_ops) WITH (bits = 1);
CREATE INDEX bits ON items USING ivf (b) WITH (lists = 16);
CREATE INDEX cast_half ON items USING ivf ((v::halfvec(24)) halfvec_l2_ops);
CREATE INDEX quantized ON items USING ivf ((binary_quantize(v)::bit(24)) bit_hamming_ops, id);

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
	rows := cardinality(fast);
	wrong := (SELECT count(*) FROM generate_subscripts(slow, 1) i WHERE fast[i] IS DISTINCT FROM slow[i]);
	RETURN NEXT;
END $$;
SELECT orders($$h <-> (SELECT h FROM items WHERE id = 5)$$);
SELECT orders($$h <=> (SELECT h FROM items WHERE id = 77)$$);
SELECT orders($$h <#> (SELECT h FROM items WHERE id = 2000)$$);
SELECT orders($$b <~> (SELECT b FROM items WHERE id = 900)$$);
SELECT orders($$v::halfvec(24) <-> (SELECT h FROM items WHERE id = 31)$$);
SELECT orders($$binary_quantize(v)::bit(24) <~> (SELECT binary_quantize(v)::bit(24) FROM items WHERE id = 13)$$);
SELECT orders($$binary_quantize(v)::bit(24) <~> (SELECT binary_quantize(v)::bit(24) FROM items WHERE id = 13)$$, 'id < 400');

-- Inserts and deletes
DELETE FROM items WHERE id % 3 = 0;
UPDATE items SET h = h, b = ~b WHERE id % 7 = 0;
VACUUM items;
INSERT INTO items SELECT id + 10000, v, h, b FROM items WHERE id < 500;
SELECT orders($$h <=> (SELECT h FROM items WHERE id = 77)$$);
SELECT orders($$b <~> (SELECT b FROM items WHERE id = 902)$$);
SELECT relname, ivf_check(oid, true) ->> 'live' AS rows FROM pg_class WHERE relname IN ('half_l2', 'half_cosine', 'bits', 'quantized') ORDER BY 1;
SELECT ivf_index_info('bits') ->> 'metric' AS metric, (ivf_recall('bits', 20) ->> 'recall')::float > 0.999 AS exact,
	(ivf_recall('half_ip', 20) ->> 'recall')::float > 0.999 AS exact_half;
RESET ivf.recall_target;
SELECT (ivf_recalibrate('half_cosine') ->> 'queries')::int > 0 AS calibrated, (ivf_recalibrate('bits') ->> 'queries')::int > 0 AS of_bits;

-- The index has exact bit strings: rows of equal distance come in heap order, and no value is fetched
CREATE TABLE strings (id int, s bit(13), wide bit(64000));
INSERT INTO strings SELECT i, (hashint4(i) & 8191)::bit(13), CASE WHEN i <= 40 THEN repeat((hashint4(i) & 65535)::bit(16)::text, 4000)::bit(64000) END FROM generate_series(1, 5000) i;
CREATE INDEX short ON strings USING ivf (s bit_hamming_ops) WITH (lists = 10, recall_target = 1);
CREATE INDEX long ON strings USING ivf (wide) WITH (recall_target = 1);
SET enable_seqscan = off; SET enable_sort = off;
SELECT count(*), sum((ids.id <> other.id)::int) AS different FROM
	(SELECT id, row_number() OVER () AS n FROM (SELECT id FROM strings ORDER BY s <~> B'1010101010101' LIMIT 1000) x) ids
	JOIN (SELECT id, row_number() OVER (ORDER BY s <~> B'1010101010101', ctid) AS n FROM strings) other USING (n);
SELECT count(*) FROM (SELECT FROM strings ORDER BY s <~> B'1010101010101' LIMIT 100) x;
SELECT ivf_last_scan() ->> 'heap_rows' AS heap_rows, ivf_last_scan() ->> 'refined' AS refined;
SELECT count(*), min(d), max(d) FROM (SELECT s <~> B'0000000000000' AS d FROM strings WHERE s <~> B'0000000000000' < 3 ORDER BY s <~> B'0000000000000') x;
SELECT count(*), min(d), max(d) FROM (SELECT s <~> B'0000000000000' AS d FROM strings OFFSET 0) x WHERE d < 3;
RESET enable_seqscan; RESET enable_sort;
SELECT sum((a.id <> b.id)::int) AS different FROM
	(SELECT id, row_number() OVER () AS n FROM (SELECT id FROM strings ORDER BY wide <~> (SELECT wide FROM strings WHERE id = 7) LIMIT 40) x) a
	JOIN (SELECT id, row_number() OVER (ORDER BY wide <~> (SELECT wide FROM strings WHERE id = 7), ctid) AS n FROM strings WHERE wide IS NOT NULL) b USING (n);
UPDATE strings SET wide = ~wide WHERE id % 3 = 0 AND id <= 40;
VACUUM strings;
SELECT ivf_check('short', true) ->> 'live' AS short, ivf_check('long', true) ->> 'live' AS long;
SELECT info ->> 'version' AS version, info ->> 'bits' AS bits, (info ->> 'bytes_per_row')::float < 25 AS small FROM ivf_index_info('short') info;
CREATE INDEX ON strings USING ivf (s) WITH (bits = 4);
ALTER INDEX short SET (bits = 1);
REINDEX INDEX short;
ALTER INDEX short RESET (bits);
REINDEX INDEX short;
DROP TABLE strings;

-- A common use of bits: the nearest rows by bits, then ordered by vectors
SELECT count(*) FROM (SELECT * FROM (SELECT id, v FROM items ORDER BY binary_quantize(v)::bit(24) <~> binary_quantize('[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]'::vector)::bit(24) LIMIT 40) x
	ORDER BY v <=> '[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]' LIMIT 10) y;

-- Functions called by name are treated as their operators
SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_sort = off;
PREPARE l2(halfvec) AS SELECT id FROM items ORDER BY l2_distance(h, $1) LIMIT 3;
PREPARE cosine(halfvec) AS SELECT id FROM items ORDER BY cosine_distance(h, $1) LIMIT 3;
PREPARE ip(halfvec) AS SELECT id FROM items ORDER BY halfvec_negative_inner_product($1, h) LIMIT 3;
PREPARE hamming(bit) AS SELECT id FROM items ORDER BY hamming_distance(b, $1) LIMIT 3;
EXPLAIN (COSTS OFF) EXECUTE l2(NULL);
EXPLAIN (COSTS OFF) EXECUTE cosine(NULL);
EXPLAIN (COSTS OFF) EXECUTE ip(NULL);
EXPLAIN (COSTS OFF) EXECUTE hamming(NULL);
RESET enable_seqscan; RESET enable_sort;

-- Queries and columns with wrong dimensions or types
SELECT id FROM items ORDER BY h <-> '[1,2]' LIMIT 1;
SET enable_seqscan = off;
SELECT id FROM items ORDER BY b <~> B'101' LIMIT 1;
RESET enable_seqscan;
CREATE TABLE odd (h halfvec, b bit varying(8), n bit, wide bit(64001));
CREATE INDEX ON odd USING ivf (h);
CREATE INDEX ON odd USING ivf (b bit_hamming_ops);
CREATE INDEX ON odd USING ivf (wide);
CREATE INDEX ON odd USING ivf (n);
DROP TABLE items, odd;
DROP FUNCTION orders;
