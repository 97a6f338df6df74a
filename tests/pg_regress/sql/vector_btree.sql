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

-- Merge join and hash
SET enable_nestloop = off;
SELECT count(*) FROM t a JOIN t b ON a.v = b.v;
RESET enable_nestloop;
CREATE INDEX ON t USING hash (v);
DROP TABLE t;
