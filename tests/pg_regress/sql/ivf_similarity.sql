-- Orders by an expression that grows or falls with a distance use the index, if the order is the same.
CREATE TABLE items (id int PRIMARY KEY, kind int, e vector(8) NOT NULL, n vector(8), h halfvec(8) NOT NULL);
INSERT INTO items SELECT i, i % 7, v, v, v FROM (SELECT i, (SELECT array_agg(sin(i * 0.7 + j * (i % 13 + 1))) FROM generate_series(1, 8) j)::vector(8) v
	FROM generate_series(1, 3000) i) x;
CREATE INDEX by_cosine ON items USING ivf (e vector_cosine_ops, kind);
CREATE INDEX by_product ON items USING ivf (e vector_ip_ops);
CREATE INDEX by_half ON items USING ivf (h halfvec_cosine_ops);
CREATE INDEX by_nullable ON items USING ivf (n vector_cosine_ops);
ANALYZE items;
SET enable_seqscan = off;
SET ivf.recall_target = 1;

-- The scan and the sort of the plan, and whether its rows are those of a sort of the table
CREATE FUNCTION plan(query text) RETURNS TABLE (plan text, same bool) LANGUAGE plpgsql AS $$
DECLARE line text; fast text[]; slow text[];
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		IF line ~ 'Scan|Sort|Cond|Merge' AND line !~ 'Key|Bitmap|Replaces' THEN plan := concat_ws(', ', plan, regexp_replace(line, '^\W*', '')); END IF;
	END LOOP;
	EXECUTE format('SELECT array_agg(x::text) FROM (%s) x', query) INTO fast;
	PERFORM set_config('enable_indexscan', 'off', true), set_config('enable_seqscan', 'on', true);
	EXECUTE format('SELECT array_agg(x::text) FROM (%s) x', query) INTO slow;
	PERFORM set_config('enable_indexscan', 'on', true), set_config('enable_seqscan', 'off', true);
	same := fast IS NOT DISTINCT FROM slow;
	RETURN NEXT;
END $$;
\set q '''[0.1,0.9,-0.3,0.4,0.2,-0.7,0.5,0.6]'''
SELECT * FROM plan('SELECT 1 - (e <=> ' || quote_literal(:q) || ') AS similarity FROM items ORDER BY similarity DESC LIMIT 10');
SELECT * FROM plan('SELECT id FROM items WHERE kind = 3 ORDER BY 1 - (e <=> ' || quote_literal(:q) || ') DESC LIMIT 10');
SELECT * FROM plan('SELECT id FROM items ORDER BY (e <#> ' || quote_literal(:q) || ') * -1 DESC LIMIT 10');
SELECT * FROM plan('SELECT id FROM items ORDER BY -(e <#> ' || quote_literal(:q) || ') DESC, id LIMIT 10');
SELECT * FROM plan('SELECT id FROM items ORDER BY (1 + (2 - (e <=> ' || quote_literal(:q) || ')) / 2) * 100 - 7 DESC LIMIT 10');
SELECT * FROM plan('SELECT id FROM items ORDER BY 0.5 * (e <=> ' || quote_literal(:q) || ') LIMIT 10');
SELECT * FROM plan('SELECT id FROM items ORDER BY 1 - (h <=> ' || quote_literal(:q) || ') DESC LIMIT 10');
SELECT * FROM plan('SELECT id FROM items ORDER BY 1 - cosine_distance(e, ' || quote_literal(:q) || ') DESC LIMIT 10');
SELECT * FROM plan('SELECT id FROM items WHERE 1 - (e <=> ' || quote_literal(:q) || ') > 0.5 ORDER BY 1 - (e <=> ' || quote_literal(:q) || ') DESC LIMIT 1000');
SELECT * FROM plan('SELECT a.id, b.id FROM items a JOIN items b ON b.id = a.id + 1 ORDER BY 1 - (a.e <=> ' || quote_literal(:q) || ') DESC LIMIT 3');

-- NULLs would come first, so they must be excluded, impossible or last
SELECT plan FROM plan('SELECT id FROM items ORDER BY 1 - (n <=> ' || quote_literal(:q) || ') DESC LIMIT 10');
SELECT plan FROM plan('SELECT id FROM items ORDER BY 1 - (n <=> ' || quote_literal(:q) || ') DESC NULLS LAST LIMIT 10');
SELECT plan FROM plan('SELECT id FROM items WHERE n IS NOT NULL ORDER BY 1 - (n <=> ' || quote_literal(:q) || ') DESC LIMIT 10');
SELECT plan FROM plan('SELECT id FROM items WHERE 1 - (n <=> ' || quote_literal(:q) || ') > 0.2 ORDER BY 1 - (n <=> ' || quote_literal(:q) || ') DESC LIMIT 10');

-- Not the same order
SELECT plan FROM plan('SELECT id FROM items ORDER BY 1 - (e <=> ' || quote_literal(:q) || ') LIMIT 10');
SELECT plan FROM plan('SELECT id FROM items ORDER BY kind - (e <=> ' || quote_literal(:q) || ') DESC LIMIT 10');
SELECT plan FROM plan('SELECT id FROM items ORDER BY 1 / (e <=> ' || quote_literal(:q) || ') DESC LIMIT 10');
SELECT plan FROM plan('SELECT id FROM items ORDER BY 0 * (e <=> ' || quote_literal(:q) || ') DESC LIMIT 10');
SELECT plan FROM plan('SELECT id FROM items ORDER BY random() - (e <=> ' || quote_literal(:q) || ') DESC LIMIT 10');

-- In a function that the planner inlines, with a parameter, and on partitions
CREATE FUNCTION match(query vector(8), threshold float8, count int) RETURNS TABLE (id int, similarity float8) LANGUAGE sql STABLE AS $$
	SELECT id, 1 - (e <=> query) AS similarity FROM items WHERE 1 - (e <=> query) > threshold ORDER BY similarity DESC LIMIT count $$;
SELECT * FROM plan('SELECT id FROM match(' || quote_literal(:q) || ', 0.3, 5)');
CREATE TABLE parts (id int, e vector(8) NOT NULL) PARTITION BY RANGE (id);
CREATE TABLE parts1 PARTITION OF parts FOR VALUES FROM (0) TO (1500);
CREATE TABLE parts2 PARTITION OF parts FOR VALUES FROM (1500) TO (9000);
INSERT INTO parts SELECT id, e FROM items;
CREATE INDEX ON parts USING ivf (e vector_cosine_ops);
ANALYZE parts;
SELECT * FROM plan('SELECT id FROM parts ORDER BY 1 - (e <=> ' || quote_literal(:q) || ') DESC LIMIT 10');
SELECT * FROM plan('SELECT id FROM parts WHERE id < 0 AND id > 3 ORDER BY 1 - (e <=> ' || quote_literal(:q) || ') DESC LIMIT 10');
SET plan_cache_mode = force_generic_plan;
PREPARE alike(vector) AS SELECT id FROM items ORDER BY 1 - (e <=> $1) DESC LIMIT 3;
EXPLAIN (COSTS OFF) EXECUTE alike(NULL);
DROP FUNCTION match, plan;
DROP TABLE items, parts;
