-- Queries that do not allow an approximation are exact.
SELECT setseed(0.16);
CREATE TABLE p (id int PRIMARY KEY, kind int, e vector(48));
INSERT INTO p SELECT i, i % 10, (SELECT array_agg(sin((i % 40 + 1) * j * 1.7) + random() - 0.5)::vector FROM generate_series(1, 48) j WHERE i > 0)
FROM generate_series(1, 5000) i;
CREATE INDEX ON p USING ivf (e vector_cosine_ops) WITH (lists = 24);
CREATE INDEX ON p USING ivf (e vector_l2_ops, kind) WITH (lists = 24);
CREATE INDEX ON p USING ivf (e vector_ip_ops) WITH (lists = 24);
CREATE TABLE parts (LIKE p) PARTITION BY LIST (kind);
CREATE TABLE parts_0 PARTITION OF parts FOR VALUES IN (0, 1, 2, 3, 4);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (5, 6, 7, 8, 9);
INSERT INTO parts SELECT * FROM p;
CREATE INDEX ON parts USING ivf (e vector_cosine_ops) WITH (lists = 24);
VACUUM ANALYZE p, parts;
-- The query is between two rows, so its neighbours are in several lists.
CREATE TABLE q AS SELECT a.id, (a.e + b.e)::vector(48) AS e FROM p a JOIN p b ON b.id = a.id + 1 WHERE a.id % 300 = 0;

-- The planner's own plan for min and max, with the index
CREATE FUNCTION plan(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE line text; plan text := '';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		-- From PostgreSQL 19 on a Result says what it replaces.
		CONTINUE WHEN line ~ 'Replaces: ';
		plan := concat_ws(', ', nullif(plan, ''), substring(line, '(Result|Limit|Aggregate|Sort|\w+ Scan .*|Index Cond.*)$'));
	END LOOP;
	RETURN plan;
END $$;
SELECT plan('SELECT max(1 - (e <=> array_fill(1, ARRAY[48])::vector)) FROM p');
SELECT plan('SELECT min(e <-> array_fill(1, ARRAY[48])::vector) FROM p WHERE kind < 3');
SELECT plan('SELECT max(e <-> array_fill(1, ARRAY[48])::vector) FROM p');

CREATE FUNCTION ask(query text, of vector, settings text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE answer text;
BEGIN
	EXECUTE settings;
	EXECUTE 'SELECT string_agg(x::text, '';'') FROM (' || replace(query, 'Q', quote_literal(of) || '::vector') || ') x' INTO answer;
	RETURN answer;
END $$;
CREATE TABLE questions (n serial, query text);
INSERT INTO questions (query) VALUES
	('SELECT max(1 - (e <=> Q)) FROM p'), ('SELECT min(e <-> Q) FROM p'), ('SELECT min(e <#> Q), max((e <#> Q) * -1) FROM p'),
	('SELECT min(e <-> Q), min(e <=> Q), max(-(e <=> Q)) FROM p WHERE e IS NOT NULL'), ('SELECT min(e <-> Q) FROM p WHERE kind = 3'),
	('SELECT min(e <-> Q) FROM p WHERE kind < 4 AND id % 7 = 0'), ('SELECT min(e <=> Q) FROM p WHERE e <=> Q < 0.3 HAVING min(e <=> Q) < 1'),
	('SELECT max(1 - (e <=> Q)) FROM parts'), ('SELECT min(e <=> Q) + 1 FROM parts WHERE id > 100'),
	('SELECT min(d) FROM (SELECT e <=> Q AS d FROM p UNION ALL SELECT e <=> Q FROM parts WHERE kind > 2) s'),
	('SELECT id FROM p WHERE e <-> Q = (SELECT min(e <-> Q) FROM p)'), ('SELECT kind, (SELECT min(e <-> Q) FROM p WHERE p.kind = k.kind) FROM (VALUES (1), (5)) k (kind)'),
	('SELECT min(e <-> Q) FROM p LIMIT 1'), ('SELECT max(m) FROM (SELECT min(e <-> Q) AS m FROM p) s'), ('SELECT DISTINCT min(e <-> Q) FROM p'),
	('SELECT array_agg(id ORDER BY e <-> Q, id) FROM p'), ('SELECT (array_agg(id ORDER BY e <-> Q))[1:5] FROM p LIMIT 5'),
	('SELECT percentile_disc(0.01) WITHIN GROUP (ORDER BY e <-> Q) FROM p'), ('SELECT id FROM (SELECT id, row_number() OVER (ORDER BY e <-> Q) AS n FROM p) s WHERE n <= 10'),
	('SELECT id, row_number() OVER (ORDER BY e <-> Q) FROM p LIMIT 10'), ('SELECT DISTINCT ON (e <-> Q) id, e <-> Q FROM p ORDER BY e <-> Q, id'),
	('SELECT e <-> Q, count(*) FROM p GROUP BY 1 ORDER BY 1 LIMIT 10'), ('SELECT id FROM p WHERE e <-> Q < 4.5 ORDER BY e <-> Q'),
	('SELECT count(*) FROM (SELECT FROM p WHERE e <-> Q < 4.5 ORDER BY e <-> Q) s LIMIT 1'),
	('(SELECT id, e <-> Q AS d FROM p WHERE e <-> Q < 5) INTERSECT (SELECT id, e <-> Q AS d FROM p ORDER BY e <-> Q) ORDER BY d LIMIT 10'),
	('SELECT EXISTS (SELECT FROM (SELECT id FROM p ORDER BY e <-> Q OFFSET 0) s WHERE id = 4242)'),
	('SELECT a.id FROM p a WHERE a.id IN (SELECT id FROM (SELECT id FROM p WHERE e <-> Q < 4.5 ORDER BY e <-> Q OFFSET 0) s) ORDER BY a.id LIMIT 10');
SELECT count(*) AS answers, count(*) FILTER (WHERE usual IS DISTINCT FROM truth) AS usual_wrong, count(*) FILTER (WHERE half IS DISTINCT FROM truth) AS half_wrong,
	string_agg(DISTINCT query, E'\n') FILTER (WHERE usual IS DISTINCT FROM truth OR half IS DISTINCT FROM truth) AS which FROM questions, q,
	LATERAL (SELECT ask(query, q.e, 'SET LOCAL enable_seqscan = on; SET LOCAL enable_sort = on; SET LOCAL enable_indexscan = off') AS truth,
		ask(query, q.e, 'SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off; SET LOCAL enable_indexscan = on; SET LOCAL ivf.recall_target = 0.95') AS usual,
		ask(query, q.e, 'SET LOCAL ivf.recall_target = 0.5') AS half OFFSET 0) x;
-- No setting of approximation changes the results of min and max
SELECT count(*) AS answers, count(*) FILTER (WHERE off IS DISTINCT FROM truth) AS off_wrong, count(*) FILTER (WHERE relaxed IS DISTINCT FROM truth) AS relaxed_wrong,
	count(*) FILTER (WHERE probes IS DISTINCT FROM truth) AS probes_wrong FROM questions, q,
	LATERAL (SELECT ask(query, q.e, 'SET LOCAL enable_seqscan = on; SET LOCAL enable_indexscan = off') AS truth,
		ask(query, q.e, 'SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = on; SET LOCAL ivf.iterative_scan = off') AS off,
		ask(query, q.e, 'SET LOCAL ivf.iterative_scan = relaxed_order') AS relaxed,
		ask(query, q.e, 'SET LOCAL ivf.probes = 1') AS probes OFFSET 0) x WHERE n <= 10;
-- A LIMIT in the query allows an approximation: fewer lists are read
SELECT e AS q FROM q WHERE id = 600 \gset
SET enable_seqscan = off;
SET ivf.probes = 1;
SELECT (SELECT e <=> :'q' FROM p ORDER BY e <=> :'q' LIMIT 1) < 1 AS found;
SELECT (ivf_last_scan() ->> 'lists')::int < (ivf_index_info('p_e_idx') ->> 'lists')::int AS approximate;
RESET ivf.probes;
SELECT min(e <=> :'q') < 1 AS found FROM p;
SELECT ivf_last_scan() ->> 'lists' = ivf_index_info('p_e_idx') ->> 'lists' AS all_lists, (ivf_last_scan() ->> 'heap_rows')::int < 1000 AS by_bounds;
PREPARE least(vector) AS SELECT min(e <=> $1) FROM p;
SET plan_cache_mode = force_generic_plan;
CREATE TABLE least AS EXECUTE least(:'q');
SELECT ivf_last_scan() ->> 'lists' = ivf_index_info('p_e_idx') ->> 'lists' AS all_lists FROM least;
DROP TABLE p, parts, q, questions, least;
DROP FUNCTION ask, plan;
