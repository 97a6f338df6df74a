-- Indexes on columns without declared dimensions.
CREATE TABLE n (id int, v vector, h halfvec);
CREATE INDEX ON n USING ivf (v);
CREATE INDEX n_v ON n USING ivf (v) WITH (dimensions = 3);
INSERT INTO n SELECT i, CASE WHEN i > 3 THEN ARRAY[i, i, i]::vector END, CASE WHEN i > 3 THEN ARRAY[i, i]::halfvec END FROM generate_series(1, 200) i;
INSERT INTO n VALUES (300, '[1,2]', NULL);
CREATE INDEX n_h ON n USING ivf (h halfvec_l1_ops);
CREATE INDEX n_expression ON n USING ivf (binary_quantize(v));
SELECT relname, reloptions FROM pg_class WHERE relname LIKE 'n\_%' ORDER BY 1;
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM n ORDER BY h <+> '[7,8]' LIMIT 3;
SELECT id, h <+> '[7,8]' AS d FROM n ORDER BY h <+> '[7,8]' LIMIT 2;
SELECT id FROM n ORDER BY v <-> '[7,7,7]' LIMIT 2;
SELECT id FROM n ORDER BY v <-> '[7,7]' LIMIT 2;
RESET enable_seqscan;

-- The dimensions stay when the rows go
TRUNCATE n;
SELECT ivf_check('n_h') ->> 'live' AS live;
INSERT INTO n VALUES (1, '[1,2,3]', '[1,2,3]');
INSERT INTO n VALUES (1, '[1,2,3]', '[1,2]');
VACUUM FULL n;
REINDEX TABLE n;
SELECT relname, ivf_check(oid, true) ->> 'live' AS live, reloptions FROM pg_class WHERE relname LIKE 'n\_%' ORDER BY 1;
DROP TABLE n;

-- All rows must agree
CREATE TABLE m (v vector);
INSERT INTO m VALUES (NULL), ('[1,2]'), ('[3,4]'), ('[1,2,3]'), ('[1]');
CREATE INDEX ON m USING ivf (v);
CREATE INDEX ON m USING ivf (v) WITH (dimensions = 3);
CREATE INDEX m_3 ON m USING ivf (v vector_l1_ops) WHERE vector_dims(v) = 3;
CREATE INDEX m_cast ON m USING ivf ((v::vector(2))) WHERE vector_dims(v) = 2;
INSERT INTO m VALUES ('[5,6,7]'), ('[5,6]'), ('[1,2,3,4]');
SELECT relname, reloptions, ivf_check(oid, true) ->> 'live' AS live FROM pg_class WHERE relname LIKE 'm\_%' ORDER BY 1;
CREATE INDEX ON m USING ivf (v) WITH (dimensions = -1);
CREATE INDEX ON m USING ivf (v) WITH (dimensions = 17000);
DROP TABLE m;

-- Deleted rows that older snapshots may still see are left out, and the index is kept from those snapshots
BEGIN;
CREATE TABLE d AS SELECT ARRAY[i, i]::vector AS v FROM generate_series(1, 50) i UNION ALL SELECT '[1,2,3]';
DELETE FROM d WHERE vector_dims(v) = 3;
CREATE INDEX d_v ON d USING ivf (v);
SELECT indcheckxmin FROM pg_index WHERE indexrelid = 'd_v'::regclass;
COMMIT;
SELECT ivf_check('d_v', true) ->> 'live' AS live;
DROP TABLE d;

-- Views, domains, unlogged tables, tables made of queries
CREATE TABLE source AS SELECT i % 4 AS g, ARRAY[i, i * i]::vector AS v FROM generate_series(1, 100) i;
CREATE MATERIALIZED VIEW means AS SELECT g, avg(v) AS mean FROM source GROUP BY g;
CREATE INDEX means_mean ON means USING ivf (mean vector_cosine_ops);
INSERT INTO source VALUES (9, '[1,1]');
REFRESH MATERIALIZED VIEW means;
SELECT ivf_check('means_mean', true) ->> 'live' AS live;
REFRESH MATERIALIZED VIEW means WITH NO DATA;
REFRESH MATERIALIZED VIEW means;
SELECT ivf_check('means_mean', true) ->> 'live' AS live;
CREATE UNLOGGED TABLE quick AS SELECT v FROM source;
CREATE INDEX quick_v ON quick USING ivf (v vector_l1_ops);
CREATE INDEX CONCURRENTLY quick_again ON quick USING ivf (v vector_l1_ops);
REINDEX INDEX CONCURRENTLY quick_v;
SELECT relname, reloptions, ivf_check(oid, true) ->> 'live' AS live FROM pg_class WHERE relname LIKE 'quick\_%' ORDER BY 1;
CREATE DOMAIN three AS vector(3);
CREATE DOMAIN named AS three;
CREATE TABLE domains (v named);
CREATE INDEX domains_v ON domains USING ivf (v);
CREATE INDEX ON domains USING ivf (v) WITH (dimensions = 4);
SELECT ivf_index_info('domains_v') ->> 'dimensions' AS dimensions, reloptions FROM pg_class WHERE relname = 'domains_v';
DROP MATERIALIZED VIEW means;
DROP TABLE source, quick, domains;
DROP DOMAIN three CASCADE;
-- Strings of no bits have no dimensions
CREATE TABLE nothing AS SELECT B'' AS b FROM generate_series(1, 10) i;
CREATE INDEX ON nothing USING ivf (b bit_hamming_ops);
DROP TABLE nothing;
-- A row that was updated meanwhile does not count
BEGIN;
CREATE TABLE changed (v vector);
INSERT INTO changed VALUES ('[1,2]');
UPDATE changed SET v = '[1,2,3]';
CREATE INDEX changed_v ON changed USING ivf (v) WHERE vector_dims(v) = 3;
SELECT ivf_index_info('changed_v') -> 'dimensions' AS dimensions;
ROLLBACK;
