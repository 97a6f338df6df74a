-- The planner's choice.
CREATE TABLE items (id int PRIMARY KEY, category int, e vector(128));
INSERT INTO items SELECT i, i % 1000, (SELECT array_agg(sin(i * j)) FROM generate_series(1, 128) j)
FROM generate_series(1, 12000) i;
CREATE INDEX items_e ON items USING ivf (e);
CREATE INDEX items_category ON items (category);
VACUUM ANALYZE items;

-- Majors name the results of subqueries differently.
CREATE FUNCTION whole_plan(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		RETURN NEXT regexp_replace(regexp_replace(line, '\(InitPlan \w+\)\.col1|\$0', '?'), 'InitPlan .*', 'InitPlan');
	END LOOP;
END $$;

-- The index is used with an order and a small LIMIT. It is not used without an order, or if another index finds few rows
SELECT whole_plan('SELECT id FROM items ORDER BY e <-> (SELECT e FROM items WHERE id = 1) LIMIT 10');
EXPLAIN (COSTS OFF) SELECT count(*) FROM items;
SELECT whole_plan('SELECT id FROM items WHERE category = 5 ORDER BY e <-> (SELECT e FROM items WHERE id = 1) LIMIT 10');
SELECT whole_plan('SELECT id FROM items ORDER BY e <=> (SELECT e FROM items WHERE id = 1) LIMIT 10');
SELECT whole_plan('SELECT id FROM items ORDER BY e <-> (SELECT e FROM items WHERE id = 1) DESC LIMIT 10');
SELECT whole_plan('SELECT id FROM items ORDER BY e <-> (SELECT e FROM items WHERE id = 1)');

-- Costs rise with the probes and with the number of rows wanted
CREATE FUNCTION startup(probes int, target float8, rows int) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE plan json;
BEGIN
    PERFORM set_config('ivf.probes', probes::text, true), set_config('ivf.recall_target', target::text, true),
            set_config('enable_seqscan', 'off', true);
    EXECUTE format('EXPLAIN (FORMAT json) SELECT id FROM items ORDER BY e <-> %L LIMIT %s',
        (SELECT e FROM items WHERE id = 1), rows) INTO plan;
    RETURN plan #>> '{0,Plan,Plans,0,Startup Cost}';
END $$;
SELECT bool_and(cost >= before) FROM (SELECT c AS cost, lag(c) OVER (ORDER BY p) AS before
    FROM (SELECT p, startup(p, 0.95, 10) AS c FROM unnest('{1,2,5,10,20,40,1000}'::int[]) p) s) s;
SELECT bool_and(cost >= before) FROM (SELECT c AS cost, lag(c) OVER (ORDER BY k) AS before
    FROM (SELECT k, startup(0, 0.95, k) AS c FROM unnest('{1,2,5,10,100,1000,10000}'::int[]) k) s) s;
SELECT bool_and(cost >= before) FROM (SELECT c AS cost, lag(c) OVER (ORDER BY t) AS before
    FROM (SELECT t, startup(0, t, 10) AS c FROM unnest('{0.5,0.8,0.9,0.95,0.99,1}'::float8[]) t) s) s;
DROP FUNCTION startup;

-- Thresholds: the index estimates how many rows are within, also for a query that the planner does not know
CREATE TABLE near (id int PRIMARY KEY, e vector(96));
INSERT INTO near SELECT i, (SELECT array_agg(sin((i % 60 + 1) * j * 1.3) + sin(i * (i % 7 + 1) * j * 0.01) / 3) FROM generate_series(1, 96) j)::vector
FROM generate_series(1, 9000) i;
CREATE INDEX near_e ON near USING ivf (e);
VACUUM ANALYZE near;
SELECT e AS q FROM near WHERE id = 7 \gset
CREATE FUNCTION plan(query text) RETURNS TABLE (scan text, rows_right bool) LANGUAGE plpgsql AS $$
DECLARE line text; count int;
BEGIN
	EXECUTE format('SELECT count(*) FROM (%s) s', query) INTO count;
	FOR line IN EXECUTE 'EXPLAIN ' || query LOOP
		IF scan IS NULL AND line ~ 'Scan' THEN
			scan := substring(line, '(\w+( Only)? Scan\S* \S+ \S+)');
			rows_right := substring(line, 'rows=(\d+)')::int + 20 BETWEEN count / 4 AND 4 * count + 80;
		END IF;
	END LOOP;
	RETURN NEXT;
END $$;
SELECT r, plan.* FROM unnest('{0.5,1,3,8,20}'::float8[]) r, plan(format('SELECT id FROM near WHERE e <-> %L < %s ORDER BY e <-> %1$L', :'q', r));
SELECT plan.* FROM plan(format('SELECT id FROM near WHERE 10 - (e <-> %L) > 8 AND e IS NOT NULL ORDER BY 10 - (e <-> %1$L) DESC', :'q'));
EXPLAIN (COSTS OFF) SELECT count(*) FROM (SELECT * FROM near WHERE id <= 10) a, LATERAL (SELECT id FROM near WHERE e <-> a.e < 1 ORDER BY e <-> a.e) n;
EXPLAIN (COSTS OFF) SELECT count(*) FROM (SELECT * FROM near WHERE id <= 10) a, LATERAL (SELECT id FROM near WHERE e <-> a.e < 30 ORDER BY e <-> a.e) n;
PREPARE within(vector, float8) AS SELECT id FROM near WHERE e <-> $1 < $2 ORDER BY e <-> $1;
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE within(:'q', 1);
RESET plan_cache_mode;

-- All pages of a query have the same plan
CREATE FUNCTION shape(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE line text; shape text := '';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP shape := shape || split_part(line, ':', 1) || '|'; END LOOP;
	RETURN shape;
END $$;
CREATE TABLE small AS SELECT id, category % 9 AS kind, subvector(e, 1, 5)::vector(5) AS e FROM items WHERE id <= 1500;
CREATE INDEX ON small USING ivf (e) WITH (lists = 6);
CREATE TABLE parts (LIKE small) PARTITION BY LIST (kind);
CREATE TABLE parts_0 PARTITION OF parts FOR VALUES IN (0, 1, 2, 3);
CREATE TABLE parts_1 PARTITION OF parts DEFAULT;
INSERT INTO parts SELECT * FROM small;
CREATE INDEX ON parts_0 USING ivf (e);
CREATE TABLE kinds AS SELECT i AS id, i % 4 AS name FROM generate_series(0, 8) i;
VACUUM ANALYZE small, parts, kinds;
CREATE TABLE forms (form text);
INSERT INTO forms VALUES ('SELECT id FROM %s t ORDER BY e <-> Q %s'), ('SELECT id FROM %s t WHERE id %% 3 = 0 ORDER BY e <-> Q %s'),
	('SELECT t.id, k.name FROM %s t JOIN kinds k ON k.id = t.id %% 9 ORDER BY e <-> Q %s'), ('SELECT * FROM (SELECT id FROM %s ORDER BY e <-> Q) t %s'),
	('SELECT id FROM %s t ORDER BY e <-> Q, id %s'), ('SELECT id FROM %s t WHERE e <-> Q < 2 ORDER BY e <-> Q %s'), ('SELECT id FROM %s t ORDER BY e <-> Q %s FOR UPDATE');
CREATE VIEW pages AS SELECT name, form, n, m, shape(replace(format(form, name, format('LIMIT %s', n) || CASE WHEN m < 0 THEN '' ELSE format(' OFFSET %s', n * m) END),
		'Q', format('(SELECT e FROM %I LIMIT 1)', name))) AS shape
	FROM unnest('{items,small,parts}'::text[]) name, forms, unnest('{1,10,20,100,300}'::int[]) n, unnest('{-1,0,1,5,20,100,999}'::int[]) m WHERE n * m <= 2000;
SELECT count(*) AS series, count(*) FILTER (WHERE plans > 1) AS changing, count(*) FILTER (WHERE by_index) > 30 AS by_index,
	count(*) FILTER (WHERE NOT by_index) > 5 AS others FROM (
	SELECT count(DISTINCT shape) AS plans, bool_or(shape LIKE '%Order By%') AS by_index FROM pages GROUP BY name, form, n) s;
-- Also with parameters, when the server considers a generic plan
CREATE FUNCTION series(query text, n int) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text; shape text;
BEGIN
	EXECUTE 'PREPARE page AS ' || query;
	FOR m IN 0..9 LOOP
		shape := '';
		FOR line IN EXECUTE format('EXPLAIN (COSTS OFF) EXECUTE page(%s, %s)', n, n * m) LOOP shape := shape || split_part(line, ':', 1) || '|'; END LOOP;
		RETURN NEXT shape;
	END LOOP;
	DEALLOCATE page;
END $$;
SELECT count(*) AS series, count(*) FILTER (WHERE plans > 1) AS changing FROM (SELECT count(DISTINCT shape) AS plans FROM unnest('{items,small,parts}'::text[]) name, forms, unnest('{1,10,20,100,300}'::int[]) n,
	LATERAL series(replace(format(form, name, 'LIMIT $1 OFFSET $2'), 'Q', format('(SELECT e FROM %I LIMIT 1)', name)), n) shape GROUP BY name, form, n) s;
DROP VIEW pages;
DROP TABLE items, near, small, parts, kinds, forms;
DROP FUNCTION plan, shape, series;
