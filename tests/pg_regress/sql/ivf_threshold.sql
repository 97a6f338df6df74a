-- Distance thresholds: a scan in the order of the distance ends at them.
CREATE TABLE items (id int PRIMARY KEY, kind int, e vector(16));
INSERT INTO items SELECT i, i % 5, (SELECT array_agg(sin(i * 0.7 + j * (i % 13 + 1))) FROM generate_series(1, 16) j)::vector(16)
	FROM generate_series(1, 20000) i;
CREATE INDEX ON items USING ivf (e);
ANALYZE items;
SELECT e AS q FROM items WHERE id = 777 \gset

-- The plan of each query, and whether it returns the rows of a sequential scan
CREATE FUNCTION same(query text) RETURNS TABLE (plan text, rows bigint, equal bool, fetched_less bool) LANGUAGE plpgsql AS $$
DECLARE line text; fast text[]; slow text[];
BEGIN
	PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true);
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		IF line LIKE '%Scan%' AND line NOT LIKE '%Replaces%' THEN plan := trim(regexp_replace(line, '->', '')); END IF;
	END LOOP;
	PERFORM set_config('ivf.recall_target', '1', true);
	EXECUTE format('SELECT array_agg(x::text) FROM (%s) x', query) INTO fast;
	fetched_less := (ivf_last_scan() ->> 'heap_rows')::int < 3 * coalesce(cardinality(fast), 0) + 200;
	PERFORM set_config('enable_indexscan', 'off', true), set_config('enable_sort', 'on', true);
	EXECUTE format('SELECT array_agg(x::text) FROM (%s) x', query) INTO slow;
	PERFORM set_config('enable_indexscan', 'on', true);
	rows := coalesce(cardinality(fast), 0);
	equal := fast IS NOT DISTINCT FROM slow;
	RETURN NEXT;
END $$;
SELECT * FROM same(format('SELECT id, e <-> %L AS d FROM items WHERE e <-> %1$L < 0.7 ORDER BY e <-> %1$L', :'q'));
SELECT * FROM same(format('SELECT id FROM items WHERE e <-> %L <= 0.7 ORDER BY e <-> %1$L LIMIT 10', :'q'));
SELECT * FROM same(format('SELECT id FROM items WHERE e <-> %L <= 0.7 ORDER BY e <-> %1$L LIMIT 100000', :'q'));
SELECT * FROM same(format('SELECT id FROM items WHERE 0.7 > %L <-> e ORDER BY e <-> %1$L LIMIT 50', :'q'));
SELECT * FROM same(format('SELECT id FROM items WHERE l2_distance(e, %L) < 0.7 AND kind = 2 ORDER BY e <-> %1$L LIMIT 50', :'q'));
SELECT * FROM same(format('SELECT id FROM items WHERE e <-> %L < -1 ORDER BY e <-> %1$L LIMIT 5', :'q'));
SELECT * FROM same(format('SELECT id FROM items WHERE e <-> %L < ''-Infinity'' ORDER BY e <-> %1$L LIMIT 5', :'q'));
SELECT * FROM same(format('SELECT id FROM items WHERE e <-> %L < NULL ORDER BY e <-> %1$L LIMIT 5', :'q'));
SELECT * FROM same(format('SELECT id FROM items WHERE e <-> %L < (SELECT 0.5 + 0.2) ORDER BY e <-> %1$L LIMIT 500', :'q'));

-- Also a threshold of an expression that grows or falls with the distance
SELECT * FROM same(format('SELECT id FROM items WHERE 1 - (e <-> %L) > 0.3 ORDER BY e <-> %1$L', :'q'));
SELECT * FROM same(format('SELECT id FROM items WHERE e IS NOT NULL AND -0.7 <= -(e <-> %L) ORDER BY 1 - (e <-> %1$L) DESC LIMIT 100000', :'q'));
SELECT * FROM same(format('SELECT id FROM items WHERE (2 - 4 * (e <-> %L)) / 2 >= -0.4 ORDER BY e <-> %1$L LIMIT 100000', :'q'));
SELECT equal FROM same(format('SELECT id FROM items WHERE 1 - (e <-> %L) < -1.5 ORDER BY e <-> %1$L LIMIT 50', :'q'));

-- A threshold for another query vector or operator, or one that depends on the row, does not end a scan
SELECT equal FROM same(format('SELECT id FROM items WHERE e <-> array_fill(0.5, ARRAY[16])::vector < 2.5 ORDER BY e <-> %L LIMIT 50', :'q'));
SELECT equal FROM same(format('SELECT id FROM items WHERE e <=> %L < 0.01 ORDER BY e <-> %1$L LIMIT 50', :'q'));
SELECT equal FROM same(format('SELECT id FROM items WHERE e <-> %L < kind ORDER BY e <-> %1$L LIMIT 50', :'q'));
SELECT equal FROM same(format('SELECT id FROM items WHERE e <-> %L > 2.5 ORDER BY e <-> %1$L LIMIT 50', :'q'));

-- Parameters, also one that changes with each rescan
SET plan_cache_mode = force_generic_plan;
PREPARE near(vector, float8) AS SELECT count(*), max(d) <= $2 AS within FROM (SELECT e <-> $1 AS d FROM items WHERE e <-> $1 <= $2 ORDER BY e <-> $1 LIMIT 1000) x;
EXECUTE near(:'q', 0.3);
EXECUTE near(:'q', 0.7);
EXECUTE near(:'q', 'NaN');
SELECT r, n FROM (VALUES (0.3::float8), (0.7), (0.1)) t (r),
	LATERAL (SELECT count(*) AS n FROM (SELECT FROM items WHERE e <-> :'q' <= r ORDER BY e <-> :'q' LIMIT 1000) x) y;
SET enable_indexscan = off;
SELECT r, (SELECT count(*) FROM items WHERE e <-> :'q' <= r) AS n FROM (VALUES (0.3::float8), (0.7), (0.1)) t (r);
RESET enable_indexscan;

-- ivf_last_scan() knows no scan of a worker, and a server under test may run each plan in one
SELECT set_config(name, 'off', false) FROM pg_settings WHERE name IN ('debug_parallel_query', 'force_parallel_mode');
-- Apps without named parameters send the vector twice. The scan compares the two values when it starts
CREATE FUNCTION repeated(statement text, q vector, r vector) RETURNS TABLE (rows bigint, equal bool, fetched_less bool) LANGUAGE plpgsql AS $$
DECLARE fast text; slow text; values_ text := format('(%L, 0.7, %L)', q, r);
BEGIN
	PERFORM set_config('ivf.recall_target', '1', true), set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true);
	EXECUTE 'PREPARE twice(vector, float8, vector) AS SELECT count(*), array_agg(x)::text FROM (' || statement || ') x';
	EXECUTE 'EXECUTE twice' || values_ INTO rows, fast;
	fetched_less := (ivf_last_scan() ->> 'heap_rows')::int < 3 * rows + 200;
	DEALLOCATE twice;
	PERFORM set_config('enable_indexscan', 'off', true), set_config('enable_sort', 'on', true);
	EXECUTE 'PREPARE twice(vector, float8, vector) AS SELECT count(*), array_agg(x)::text FROM (' || statement || ') x';
	EXECUTE 'EXECUTE twice' || values_ INTO rows, slow;
	DEALLOCATE twice;
	PERFORM set_config('enable_indexscan', 'on', true);
	equal := fast IS NOT DISTINCT FROM slow;
	RETURN NEXT;
END $$;
SELECT statement, same.*, other.rows AS other_rows, other.equal AS other_equal, nulls.rows AS null_rows, nulls.equal AS null_equal FROM (VALUES
	('SELECT id FROM items WHERE e <-> $1 < $2 ORDER BY e <-> $3 LIMIT 100000'),
	('SELECT id FROM items WHERE e <-> $1 < $2 ORDER BY e <-> $3'),
	('SELECT id FROM items WHERE $1 <-> e <= $2 AND kind = 2 ORDER BY e <-> $3 LIMIT 5000'),
	('SELECT id FROM items WHERE 1 - (e <-> $1) > 1 - $2 ORDER BY $3 <-> e LIMIT 5000'),
	('SELECT id FROM items WHERE e <-> (SELECT $1) < $2 ORDER BY e <-> (SELECT $3) LIMIT 5000'),
	('SELECT id FROM items WHERE e <-> $1::vector(16) < $2 ORDER BY e <-> $3::vector(16) LIMIT 5000'),
	('SELECT id FROM items WHERE e <-> (SELECT $1::text)::vector(16) < $2 ORDER BY e <-> (SELECT $3::text)::vector(16) LIMIT 5000'),
	('SELECT id FROM items WHERE e <-> array_to_vector((SELECT $1::real[]), 16, true) < $2 ORDER BY e <-> array_to_vector((SELECT $3::real[]), 16, true) LIMIT 5000')) s (statement),
	repeated(statement, :'q', :'q') same, repeated(statement, :'q', array_fill(0.3, ARRAY[16])::vector) other, repeated(statement, NULL, :'q') nulls;
SELECT other_id, n FROM (VALUES (777), (5), (NULL)) t (other_id), LATERAL (SELECT e AS o FROM items WHERE id = coalesce(other_id, -1) UNION ALL SELECT NULL WHERE other_id IS NULL) o,
	LATERAL (SELECT count(*) AS n FROM (SELECT FROM items WHERE e <-> o <= 0.3 ORDER BY e <-> :'q' LIMIT 100000) x) y;
-- A value is not computed for rows that the plan never sees
CREATE TABLE none (e vector(3));
CREATE INDEX ON none USING ivf (e);
PREPARE texts(text, text) AS SELECT count(*) FROM (SELECT FROM none WHERE e <-> $1::vector < 1 ORDER BY e <-> $2::vector LIMIT 5) x;
SET enable_seqscan = off;
EXECUTE texts('no vector', '[1,2,3]');
RESET enable_seqscan;
DROP TABLE none;
DROP FUNCTION repeated;

-- Functions called by name are treated as their operators
SET enable_seqscan = off; SET enable_sort = off;
PREPARE by_name(vector) AS SELECT id FROM items ORDER BY l2_distance(e, $1) LIMIT 3;
EXPLAIN (COSTS OFF) EXECUTE by_name(:'q');
PREPARE by_name2(vector) AS SELECT id FROM items ORDER BY l2_distance($1, e) LIMIT 3;
EXPLAIN (COSTS OFF) EXECUTE by_name2(:'q');
DROP FUNCTION same;
DROP TABLE items;

-- A threshold that cannot be solved for the distance is not used: it raises no error that the filter does not raise, and excludes no row that passes
CREATE TABLE u (id int, kind int, e vector(3));
INSERT INTO u SELECT i, i % 5, format('[%s,%s,%s]', i, i % 7, i % 5)::vector FROM generate_series(1, 3000) i;
CREATE INDEX ON u USING ivf (e vector_cosine_ops) WITH (lists = 10);
CREATE TABLE nothing (e vector(3));
CREATE INDEX ON nothing USING ivf (e vector_cosine_ops);
ANALYZE u;
SET ivf.recall_target = 1;
CREATE FUNCTION answer(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE answer text;
BEGIN
	EXECUTE format('SELECT count(*) || '' '' || coalesce(round(max(d)::numeric, 6), -1) FROM (%s) x', query) INTO answer;
	RETURN answer;
EXCEPTION WHEN OTHERS THEN RETURN SQLERRM;
END $$;
CREATE TABLE bounds (filter text);
INSERT INTO bounds VALUES ('D / 1000 < 1.7e308'), ('D * 0.001 < 1.7e308'), ('D / 1000 <= ''Infinity'''), ('-D / 1e300 > -1e300'),
	('1e308 - D > -1.7e308'), ('D - 1.7e308 < 1.7e308'), ('D * 1e-320 < 1e-321'), ('D / 1e200 / 1e100 < 1e10'), ('D * -1e-5 > -1e305'),
	('D + 1e17 < 1e17'), ('D + 1e17 <= 1e17'), ('(D * 1e-9 + 1000) < 1000.0000000003'), ('(D + 1e9) - 1e9 < 0.3'), ('D * 3 / 3 <= 0.2'),
	('D < ''NaN'''), ('D <= ''NaN'''), ('1 - D > ''NaN'''), ('D < ''-Infinity'''), ('D * -1 < ''Infinity'''), ('D < -0.0'), ('D <= 0.0'),
	('-D >= -0.0'), ('0.0 - D > -0.2'), ('D - ''Infinity'' < 0'), ('D * ''Infinity'' < 1'), ('D < 0.2::real'), ('0.2::real >= D'),
	('D < NULL'), ('D < 0.9 and D < 0.2 and D < 0.7'), ('D < 1e308 * A'), ('D < A / (A - 1)'), ('D < -(A - 1.2)'), ('D * 2 < A / 4'),
	('D < sqrt(A - 2)'), ('D < exp(A * 1000)'), ('D < A::text::float8'), ('D < A::numeric'), ('D < A::int'), ('D < (SELECT A / 5)');
SELECT filter, indexed, CASE WHEN indexed IS DISTINCT FROM plain THEN plain END AS but_without
FROM bounds, LATERAL (SELECT replace(replace(filter, 'D', '(e <=> ''[1,2,3]'')'), 'A', '$1') AS f) x,
	LATERAL (SELECT set_config('enable_seqscan', 'off', false), set_config('enable_indexscan', 'on', false)) i,
	LATERAL (SELECT answer(replace(format('SELECT e <=> ''[1,2,3]'' AS d FROM u WHERE %s ORDER BY e <=> ''[1,2,3]''', f), '$1', '1.0::float8')) AS indexed OFFSET 0) a,
	LATERAL (SELECT set_config('enable_seqscan', 'on', false), set_config('enable_indexscan', 'off', false)) s,
	LATERAL (SELECT answer(replace(format('SELECT e <=> ''[1,2,3]'' AS d FROM u WHERE %s ORDER BY e <=> ''[1,2,3]''', f), '$1', '1.0::float8')) AS plain OFFSET 0) b;
RESET enable_indexscan;

-- With parameters; also on an empty table, for which the filter is never evaluated
CREATE FUNCTION by_parameter(name text, filter text, value float8, with_index bool) RETURNS text LANGUAGE plpgsql AS $$
DECLARE answer text;
BEGIN
	PERFORM set_config('enable_seqscan', CASE WHEN with_index THEN 'off' ELSE 'on' END, true),
		set_config('enable_indexscan', CASE WHEN with_index THEN 'on' ELSE 'off' END, true),
		set_config('plan_cache_mode', 'force_generic_plan', true);
	EXECUTE format('PREPARE p(float8) AS SELECT count(*) || '' '' || coalesce(round(max(d)::numeric, 6), -1) FROM (SELECT e <=> ''[1,2,3]'' AS d FROM %s WHERE %s ORDER BY e <=> ''[1,2,3]'') x',
		name, replace(replace(filter, 'D', '(e <=> ''[1,2,3]'')'), 'A', '$1'));
	BEGIN
		EXECUTE format('EXECUTE p(%L)', value) INTO answer;
	EXCEPTION WHEN OTHERS THEN answer := SQLERRM;
	END;
	DEALLOCATE p;
	RETURN answer;
END $$;
SELECT name, count(*), count(*) FILTER (WHERE indexed <> plain) AS different, count(*) FILTER (WHERE plain !~ '^\d') AS errors,
	string_agg(filter || ' ' || value || ': ' || indexed || ', not ' || plain, '; ') FILTER (WHERE indexed <> plain) AS which
FROM (SELECT name, filter, value, by_parameter(name, filter, value, true) AS indexed, by_parameter(name, filter, value, false) AS plain
	FROM bounds, (VALUES ('u'), ('nothing')) t (name), (VALUES (1.0::float8), (0), (-1.5), (1e308), ('Infinity'), ('NaN'), (NULL)) v (value)
	WHERE filter LIKE '%A%' AND NOT filter LIKE '%SELECT%') x GROUP BY name ORDER BY name;
RESET ivf.recall_target;
DROP TABLE u, nothing, bounds;
DROP FUNCTION answer, by_parameter;
