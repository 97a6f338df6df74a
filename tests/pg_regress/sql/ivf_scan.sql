-- Plans and results of ordered scans.
CREATE TABLE items (id int PRIMARY KEY, category int, e vector(3));
INSERT INTO items SELECT i, i % 5, ARRAY[sin(i), cos(i * 1.7), sin(i * 0.3)] FROM generate_series(1, 2000) i;
CREATE INDEX items_l2 ON items USING ivf (e) WITH (lists = 10);
CREATE INDEX items_cosine ON items USING ivf (e vector_cosine_ops) WITH (lists = 10);
CREATE INDEX items_ip ON items USING ivf (e vector_ip_ops) WITH (lists = 10);
ANALYZE items;
SET enable_seqscan = off;
SET ivf.recall_target = 1;

EXPLAIN (COSTS OFF) SELECT id FROM items ORDER BY e <-> '[0.5,0.5,0.5]' LIMIT 3;
SELECT id, round((e <-> '[0.5,0.5,0.5]')::numeric, 4) AS d FROM items ORDER BY e <-> '[0.5,0.5,0.5]' LIMIT 3;
EXPLAIN (COSTS OFF) SELECT id FROM items ORDER BY e <=> '[0.5,0.5,0.5]' LIMIT 3;
SELECT id, round((e <=> '[0.5,0.5,0.5]')::numeric, 4) AS d FROM items ORDER BY e <=> '[0.5,0.5,0.5]' LIMIT 3;
EXPLAIN (COSTS OFF) SELECT id FROM items ORDER BY e <#> '[0.5,0.5,0.5]' LIMIT 3;
SELECT id, round((e <#> '[0.5,0.5,0.5]')::numeric, 4) AS d FROM items ORDER BY e <#> '[0.5,0.5,0.5]' LIMIT 3;

-- Filters, joins, offsets: as many rows as asked for
SET enable_sort = off;
EXPLAIN (COSTS OFF) SELECT id FROM items WHERE category = 3 ORDER BY e <-> '[0.5,0.5,0.5]' LIMIT 5;
SELECT count(*) FROM (SELECT id FROM items WHERE category = 3 ORDER BY e <-> '[0.5,0.5,0.5]' LIMIT 5) s;
SELECT count(*) FROM (SELECT id FROM items WHERE id = 77 ORDER BY e <-> '[0.5,0.5,0.5]' LIMIT 5) s;
SELECT count(*) FROM (SELECT id FROM items WHERE category = 3 ORDER BY e <-> '[0.5,0.5,0.5]' LIMIT 7 OFFSET 390) s;
SELECT count(*) FROM (SELECT id FROM items WHERE random() < 2 ORDER BY e <-> '[0.5,0.5,0.5]' LIMIT 5) s;
SELECT count(*) FROM (SELECT id FROM items ORDER BY e <-> '[0.5,0.5,0.5]') s;
SELECT count(*) FROM (SELECT id FROM items ORDER BY e <-> '[0.5,0.5,0.5]' FETCH FIRST 5 ROWS WITH TIES) s;

-- LIMIT and query as parameters
PREPARE nearest(vector, int) AS SELECT id FROM items ORDER BY e <-> $1 LIMIT $2;
SET plan_cache_mode = force_generic_plan;
EXECUTE nearest('[0.5,0.5,0.5]', 3);
EXECUTE nearest('[-1,0,1]', 2);
EXECUTE nearest(NULL, 0);
SELECT count(*) FROM items a, LATERAL (SELECT id FROM items b ORDER BY b.e <-> a.e LIMIT 3) n WHERE a.id <= 50;
SELECT bool_and(a.id = n.id) FROM items a, LATERAL (SELECT id FROM items b ORDER BY b.e <-> a.e LIMIT 1) n WHERE a.id <= 50;

-- NULL and zero queries give every row
SELECT count(*) FROM (SELECT id FROM items ORDER BY e <-> (SELECT NULL::vector)) s;
SELECT count(*) FROM (SELECT id FROM items ORDER BY e <=> '[0,0,0]') s;
SELECT id FROM items ORDER BY e <-> '[1,2]' LIMIT 1;

-- Settings
SET ivf.recall_target = 0.8;
SET ivf.probes = 1;
SET ivf.iterative_scan = off;
SELECT count(*) < 2000 AS fewer FROM (SELECT id FROM items ORDER BY e <-> '[0.5,0.5,0.5]') s;
SET ivf.iterative_scan = relaxed_order;
SELECT count(*) FROM (SELECT id FROM items ORDER BY e <-> '[0.5,0.5,0.5]') s;
SET ivf.iterative_scan = strict_order;
SELECT count(*) FROM (SELECT id FROM items WHERE category = 1 ORDER BY e <-> '[0.5,0.5,0.5]' LIMIT 10) s;
RESET ivf.recall_target;
RESET ivf.probes;

-- Cursors, updates of the rows found, row-level security
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT id FROM items ORDER BY e <-> '[0.5,0.5,0.5]';
FETCH 3 FROM c;
FETCH BACKWARD 2 FROM c;
MOVE 100 FROM c;
COMMIT;
SELECT count(*) FROM (SELECT id FROM items ORDER BY e <-> '[0.5,0.5,0.5]' LIMIT 4 FOR UPDATE) s;
CREATE ROLE ivf_reader;
GRANT SELECT ON items TO ivf_reader;
ALTER TABLE items ENABLE ROW LEVEL SECURITY;
CREATE POLICY category_2 ON items TO ivf_reader USING (category = 2);
SET ROLE ivf_reader;
SELECT bool_and(category = 2), count(*) FROM (SELECT * FROM items ORDER BY e <-> '[0.5,0.5,0.5]' LIMIT 10) s;
SELECT ivf_check('items_l2');
RESET ROLE;

-- Inserted, updated and deleted rows
SELECT id FROM items ORDER BY e <-> '[9,9,9]' LIMIT 1;
INSERT INTO items VALUES (5000, 1, '[9,9,9]');
SELECT id FROM items ORDER BY e <-> '[9,9,9]' LIMIT 1;
BEGIN;
INSERT INTO items VALUES (5001, 1, '[9,9,8]');
ROLLBACK;
SELECT id FROM items ORDER BY e <-> '[9,9,8]' LIMIT 1;
UPDATE items SET e = '[-9,9,9]' WHERE id = 5000;
SELECT id FROM items ORDER BY e <-> '[-9,9,9]' LIMIT 1;
DELETE FROM items WHERE id > 1500;
VACUUM items;
SELECT ivf_check('items_l2', true) - 'pages' AS l2;
SELECT count(*) FROM (SELECT id FROM items ORDER BY e <=> '[1,2,3]') s;
SELECT (ivf_last_scan() ->> 'lists')::int > 0 AS counted;
DROP TABLE items;
DROP ROLE ivf_reader;

-- Out-of-line vectors: distances in the memo are used only for the same query, metric and rows
CREATE TABLE wide (id int PRIMARY KEY, e vector(700), f vector(700));
INSERT INTO wide SELECT i, (SELECT array_agg(sin(i * j)) FROM generate_series(1, 700) j)::vector,
	(SELECT array_agg(cos(i * j)) FROM generate_series(1, 700) j)::vector FROM generate_series(1, 300) i;
CREATE INDEX wide_e ON wide USING ivf (e vector_cosine_ops) WITH (lists = 4);
CREATE INDEX wide_f ON wide USING ivf (f) WITH (lists = 4);
SELECT e AS q, f AS r FROM wide WHERE id = 7 \gset
-- With exchanged arguments the distance is computed again.
SELECT count(*), bool_and(a = b AND c = d AND a <> c AND x = y) FROM (
	SELECT e <=> :'q' AS a, :'q' <=> e AS b, e <=> :'r' AS c, :'r' <=> e AS d, e <-> :'q' AS x, :'q' <-> e AS y
	FROM wide WHERE id <> 7 ORDER BY e <=> :'q' LIMIT 100) s;
-- Two scans at the same time, and one that is restarted for each row
SELECT count(*), bool_and(a = b AND c = d) FROM (
	(SELECT e <=> :'q' AS a, :'q' <=> e AS b, f <-> :'r' AS c, :'r' <-> f AS d FROM wide ORDER BY e <=> :'q' LIMIT 50)
	UNION ALL
	(SELECT e <=> :'q', :'q' <=> e, f <-> :'r', :'r' <-> f FROM wide ORDER BY f <-> :'r' LIMIT 50)) s;
SELECT count(*), bool_and(a = b) FROM (SELECT * FROM wide WHERE id <= 20) o, LATERAL (
	SELECT i.e <=> o.e AS a, o.e <=> i.e AS b FROM wide i ORDER BY i.e <=> o.e LIMIT 5) s;
-- A row is updated between two fetches of a cursor: the cursor sees the old version.
BEGIN;
DECLARE c CURSOR FOR SELECT e <=> :'q' = :'q' <=> e AS same FROM wide WHERE id <> 7 ORDER BY e <=> :'q';
FETCH 2 FROM c;
UPDATE wide SET e = f;
FETCH 2 FROM c;
SELECT bool_and(e <=> :'q' = :'q' <=> e) FROM wide;
ROLLBACK;
DROP TABLE wide;

-- Vectors inline and out of line, in one chunk or several, compressed or not, all in one table
CREATE TABLE pieces (id int PRIMARY KEY, e vector(3000));
CREATE FUNCTION piece(i int, filled int) RETURNS vector LANGUAGE sql AS $$
	SELECT array_agg(CASE WHEN j > 3000 - filled THEN sin(i * j * j) ELSE i END)::vector FROM generate_series(1, 3000) j $$;
ALTER TABLE pieces ALTER e SET STORAGE EXTENDED;
INSERT INTO pieces SELECT i, piece(i, 10) FROM generate_series(1, 20) i;
INSERT INTO pieces SELECT i, piece(i, 1500) FROM generate_series(21, 40) i;
ALTER TABLE pieces ALTER e SET STORAGE EXTERNAL;
INSERT INTO pieces SELECT i, piece(i, 3000) FROM generate_series(41, 60) i;
SELECT count(DISTINCT pg_column_size(e) < 2000) > 1 AS some_in_line, count(*) FILTER (WHERE pg_column_size(e) BETWEEN 2100 AND 11000) AS compressed,
	count(*) FILTER (WHERE pg_column_size(e) > 12000) AS plain FROM pieces;
CREATE INDEX pieces_e ON pieces USING ivf (e) WITH (lists = 4);
SELECT e AS q FROM pieces WHERE id = 50 \gset
SET enable_seqscan = off;
SET ivf.recall_target = 1;
SELECT bool_and(i.id = s.id AND i.d = s.d), count(*) FROM
	(SELECT row_number() OVER () n, * FROM (SELECT id, e <-> :'q' AS d FROM pieces ORDER BY e <-> :'q') x) i
	JOIN (SELECT row_number() OVER () n, * FROM (SELECT id, l2_distance(e, :'q') AS d FROM pieces ORDER BY l2_distance(:'q', e), id) y) s USING (n);
RESET ivf.recall_target;
-- What a scan has opened stays open after a savepoint ends.
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM pieces ORDER BY e <-> :'q';
SAVEPOINT s;
FETCH 2 FROM c;
ROLLBACK TO s;
FETCH 2 FROM c;
CLOSE c;
DECLARE c CURSOR WITH HOLD FOR SELECT id FROM pieces ORDER BY e <-> :'q' LIMIT 5;
FETCH 1 FROM c;
COMMIT;
FETCH 2 FROM c;
CLOSE c;
DROP TABLE pieces;
DROP FUNCTION piece;
