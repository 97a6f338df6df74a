-- Building: operator classes, options, table shapes, commands that rebuild.
CREATE TABLE items (id int PRIMARY KEY, category int, e vector(3));
INSERT INTO items SELECT i, i % 5, ARRAY[i % 10, i / 10, i % 7] FROM generate_series(0, 299) i;
INSERT INTO items VALUES (1000, 0, NULL), (1001, 0, '[0,0,0]');

CREATE INDEX items_l2 ON items USING ivf (e);
CREATE INDEX items_cosine ON items USING ivf (e vector_cosine_ops) WITH (lists = 4);
CREATE INDEX items_ip ON items USING ivf (e vector_ip_ops) WITH (lists = 3, bits = 8);
CREATE INDEX items_one_bit ON items USING ivf (e) WITH (bits = 1);

-- NULLs are in no index, zero vectors in no cosine index
SELECT index, info->>'metric' AS metric, info->'dimensions' AS dimensions, info->'bits' AS bits,
       info->'lists' AS lists, info->'live_rows' AS live, info->'dead_rows' AS dead
FROM unnest('{items_l2,items_cosine,items_ip,items_one_bit}'::regclass[]) index, ivf_index_info(index) info;

SELECT index, ivf_check(index, true) - 'pages' - 'lists' AS checked
FROM unnest('{items_l2,items_cosine,items_ip,items_one_bit}'::regclass[]) index;

SELECT opcname, amvalidate(oc.oid), opcdefault
FROM pg_opclass oc JOIN pg_am am ON am.oid = opcmethod WHERE amname = 'ivf' ORDER BY 1;

REINDEX INDEX items_cosine;
REINDEX INDEX CONCURRENTLY items_l2;
CREATE INDEX CONCURRENTLY items_concurrent ON items USING ivf (e);
SELECT ivf_check('items_l2', true) -> 'live' AS l2, ivf_check('items_concurrent', true) -> 'live' AS concurrent;
VACUUM FULL items;
CLUSTER items USING items_pkey;
SELECT ivf_check('items_l2', true) -> 'live' AS l2;
CLUSTER items USING items_l2;
TRUNCATE items;
SELECT ivf_check('items_l2', true);
ALTER TABLE items ALTER e TYPE vector(4);
DROP TABLE items;

-- Partial, expression, unlogged, temporary
CREATE TABLE items (id int, e vector);
INSERT INTO items SELECT i, ARRAY[i, 1, 2] FROM generate_series(1, 100) i;
CREATE INDEX ON items USING ivf (e);
CREATE INDEX part ON items USING ivf ((e::vector(3))) WHERE id > 90;
SELECT ivf_check('part', true) -> 'live';
CREATE UNLOGGED TABLE unlogged (e vector(3));
CREATE INDEX ON unlogged USING ivf (e);
INSERT INTO unlogged VALUES ('[1,2,3]');
ALTER TABLE unlogged SET LOGGED;
ALTER TABLE unlogged SET UNLOGGED;
SELECT ivf_check('unlogged_e_idx', true) -> 'live';
CREATE TEMP TABLE temporary (e vector(3)) ON COMMIT DELETE ROWS;
CREATE INDEX ON temporary USING ivf (e);
BEGIN;
INSERT INTO temporary VALUES ('[1,2,3]'), ('[3,2,1]');
SET LOCAL enable_seqscan = off;
SELECT * FROM temporary ORDER BY e <-> '[3,2,2]';
COMMIT;
SELECT ivf_check('temporary_e_idx', true);
DROP TABLE items, unlogged;

-- VACUUM calibrates again if many rows have changed, unless users have calibrated with their queries
CREATE TABLE changing (id int, e vector(8));
ALTER TABLE changing SET (autovacuum_enabled = off);
INSERT INTO changing SELECT i, ARRAY(SELECT sin(i * sqrt(2 * j + 1)) FROM generate_series(1, 8) j)::vector
	FROM generate_series(1, 3000) i;
CREATE INDEX changing_e ON changing USING ivf (e) WITH (lists = 150, renew = off);
CREATE TABLE seen (step text, calibration jsonb);
CREATE FUNCTION look(step text) RETURNS bool LANGUAGE sql AS $$
	INSERT INTO seen SELECT step, ivf_index_info('changing_e') -> 'calibration';
	SELECT (SELECT calibration FROM seen s WHERE s.step = look.step) IS DISTINCT FROM
		(SELECT calibration FROM seen s WHERE s.step = 'built')
$$;
SELECT look('built');
VACUUM changing;
SELECT look('nothing new') AS new;
INSERT INTO changing SELECT i, ARRAY(SELECT 0.1 * sin(i * sqrt(2 * j + 1)) + 0.9
	FROM generate_series(1, 8) j)::vector
	FROM generate_series(1, 6000) i;
VACUUM changing;
SELECT look('grown') AS new;
DELETE FROM seen;
SELECT jsonb_array_length(ivf_recalibrate('changing_e', ARRAY(SELECT e FROM changing WHERE id % 20 = 0)) -> 'calibration') > 0 AS asked;
SELECT look('built');
DELETE FROM changing WHERE id % 2 = 0;
VACUUM changing;
SELECT look('kept') AS new;
SELECT ivf_check('changing_e', true) - 'pages' AS checked;
-- An index may be excluded from this.
REINDEX INDEX changing_e;
ALTER INDEX changing_e SET (recalibrate = off);
DELETE FROM seen;
SELECT look('built');
DELETE FROM changing WHERE id % 4 = 1;
VACUUM changing;
SELECT look('off') AS new;
ALTER INDEX changing_e RESET (recalibrate);
VACUUM changing;
SELECT look('on again') AS new;
DROP TABLE changing, seen;
DROP FUNCTION look;
