-- Order: by elements, then by dimensions
CREATE TABLE t (v vector);
INSERT INTO t VALUES ('[0,0,0]'), ('[1,2,3]'), ('[1,1,1]'), (NULL), ('[1,1]'), ('[-1]'), ('[1,1,1,1]');
SELECT * FROM t ORDER BY v;
SELECT * FROM t ORDER BY v DESC NULLS LAST;
SELECT v, count(*) FROM (SELECT v FROM t UNION ALL SELECT v FROM t WHERE v > '[1]') u GROUP BY v ORDER BY v;
SELECT DISTINCT v FROM t ORDER BY v;

-- Index
SET enable_seqscan = off;
CREATE INDEX ON t (v);
EXPLAIN (COSTS OFF) SELECT * FROM t WHERE v = '[1,2,3]';
SELECT * FROM t WHERE v = '[1,2,3]';
SELECT * FROM t WHERE v < '[1,1,1]' ORDER BY v;
SELECT * FROM t WHERE v >= '[1,1,1]' ORDER BY v;
SELECT * FROM t WHERE v BETWEEN '[0]' AND '[1,1,1]' ORDER BY v DESC;
SELECT * FROM t ORDER BY v LIMIT 1;
RESET enable_seqscan;
CREATE UNIQUE INDEX ON t (v);
INSERT INTO t VALUES ('[1,1]');

-- Merge join
SET enable_nestloop = off;
SELECT count(*) FROM t a JOIN t b ON a.v = b.v;
RESET enable_nestloop;
DROP TABLE t;

-- Hash: equal values have equal hashes
CREATE TABLE t (v vector, h halfvec, s sparsevec);
INSERT INTO t SELECT v::vector, v::vector, v::vector FROM (VALUES ('[0,1]'), ('[-0,1]'), ('[1,0]'), ('[1]'), (NULL)) x (v);
SELECT a.v, b.v FROM t a JOIN t b ON vector_hash(a.v) = vector_hash(b.v) AND a.ctid < b.ctid;
SELECT count(*) FILTER (WHERE (a.v = b.v) <> (vector_hash_extended(a.v, 7) = vector_hash_extended(b.v, 7))) AS v,
	count(*) FILTER (WHERE (a.h = b.h) <> (halfvec_hash(a.h) = halfvec_hash(b.h))) AS h,
	count(*) FILTER (WHERE (a.h = b.h) <> (halfvec_hash_extended(a.h, 7) = halfvec_hash_extended(b.h, 7))) AS hx,
	count(*) FILTER (WHERE (a.s = b.s) <> (sparsevec_hash(a.s) = sparsevec_hash(b.s))) AS s,
	count(*) FILTER (WHERE (a.s = b.s) <> (sparsevec_hash_extended(a.s, 7) = sparsevec_hash_extended(b.s, 7))) AS sx,
	count(*) FILTER (WHERE vector_hash_extended(a.v, 0)::bit(32)::int <> vector_hash(a.v)) AS seed
	FROM t a, t b;
SET enable_mergejoin = off; SET enable_nestloop = off; SET enable_sort = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM t a JOIN t b ON a.v = b.v;
SELECT count(*) FROM t a JOIN t b ON a.v = b.v;
SELECT count(*) FROM t a JOIN t b USING (h);
SELECT count(*) FROM t a JOIN t b USING (s);
EXPLAIN (COSTS OFF) SELECT v, count(*) FROM t GROUP BY v;
SELECT count(*) FROM (SELECT DISTINCT v FROM t) x;
RESET enable_mergejoin; RESET enable_nestloop; RESET enable_sort;
CREATE INDEX ON t USING hash (v);
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT v FROM t WHERE v = '[-0,1]';
SELECT v FROM t WHERE v = '[-0,1]';
RESET enable_seqscan;
CREATE TABLE parts (v vector) PARTITION BY HASH (v);
CREATE TABLE parts0 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE parts1 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO parts SELECT ARRAY[i, 1]::vector FROM generate_series(1, 100) i;
SELECT count(*) FROM parts WHERE v = '[42,1]';
DROP TABLE parts, t;

-- ANALYZE stores no vectors
CREATE TABLE t (v vector(3), h halfvec(3), s sparsevec(3));
INSERT INTO t SELECT v, v, v FROM (SELECT ARRAY[i, 1, 2]::vector(3) FROM generate_series(1, 90) i) x (v);
INSERT INTO t SELECT FROM generate_series(1, 10);
ANALYZE t;
SELECT attname, null_frac, n_distinct, avg_width, most_common_vals IS NULL AS no_values, histogram_bounds IS NULL AS no_bounds
	FROM pg_stats WHERE tablename = 't' ORDER BY 1;
DROP TABLE t;
