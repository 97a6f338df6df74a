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
SELECT ivf_check('items_l2', true) - 'pages' - 'copies' AS l2;
SELECT count(*) FROM (SELECT id FROM items ORDER BY e <=> '[1,2,3]') s;
SELECT (ivf_last_scan() ->> 'lists')::int > 0 AS counted;
DROP TABLE items;
DROP ROLE ivf_reader;
