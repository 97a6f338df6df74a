-- Building: operator classes, options, table shapes, commands that rebuild.
CREATE TABLE items (id int PRIMARY KEY, category int, e vector(3));
INSERT INTO items SELECT i, i % 5, ARRAY[i % 10, i / 10, i % 7] FROM generate_series(0, 299) i;
INSERT INTO items VALUES (1000, 0, NULL), (1001, 0, '[0,0,0]');

CREATE INDEX items_l2 ON items USING ivf (e);
CREATE INDEX items_cosine ON items USING ivf (e vector_cosine_ops) WITH (lists = 4);
CREATE INDEX items_ip ON items USING ivf (e vector_ip_ops) WITH (lists = 3, bits = 8);
CREATE INDEX items_one_bit ON items USING ivf (e) WITH (bits = 1);

-- NULL is in no index, a zero vector in no cosine index
SELECT index, info->>'metric' AS metric, info->'dimensions' AS dimensions, info->'bits' AS bits,
       info->'lists' AS lists, info->'live_rows' AS live, info->'dead_rows' AS dead
FROM unnest('{items_l2,items_cosine,items_ip,items_one_bit}'::regclass[]) index, ivf_index_info(index) info;

SELECT index, ivf_check(index, true) - 'pages' - 'lists' - 'copies' AS checked
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
