-- The planner's choice.
CREATE TABLE items (id int PRIMARY KEY, category int, e vector(128));
INSERT INTO items SELECT i, i % 1000, (SELECT array_agg(sin(i * j)) FROM generate_series(1, 128) j)
FROM generate_series(1, 12000) i;
CREATE INDEX items_e ON items USING ivf (e);
CREATE INDEX items_category ON items (category);
VACUUM ANALYZE items;

-- With an order and a small LIMIT the index; without an order or for a few rows of another index not
EXPLAIN (COSTS OFF) SELECT id FROM items ORDER BY e <-> (SELECT e FROM items WHERE id = 1) LIMIT 10;
EXPLAIN (COSTS OFF) SELECT count(*) FROM items;
EXPLAIN (COSTS OFF) SELECT id FROM items WHERE category = 5 ORDER BY e <-> (SELECT e FROM items WHERE id = 1) LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id FROM items ORDER BY e <=> (SELECT e FROM items WHERE id = 1) LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id FROM items ORDER BY e <-> (SELECT e FROM items WHERE id = 1) DESC LIMIT 10;
EXPLAIN (COSTS OFF) SELECT id FROM items ORDER BY e <-> (SELECT e FROM items WHERE id = 1);

-- Costs rise with probes and with the rows wanted
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
DROP TABLE items;
DROP FUNCTION startup;
