-- Filter columns: conditions in the index give the same rows as a sequential scan.
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TABLE f (id int PRIMARY KEY, b bool, i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, n numeric, d date, t time,
    ts timestamp, tz timestamptz, u uuid, s text, v varchar(20), c char(5), m mood, tags text[], nums int[], e vector(8));
INSERT INTO f SELECT i, i % 2 = 0, i % 300 - 150, i % 1000 - 500, (i % 1000 - 500) * 10000000000, (i % 100) / 8.0 - 5,
    (i % 100) / 7.0 - 5, (i % 100) / 3.0 - 10, date '2024-01-01' + i % 365, time '00:00' + i % 1000 * interval '1 minute',
    timestamp '2024-01-01' + i * interval '1 hour', timestamptz '2024-01-01 00:00+00' + i * interval '1 hour',
    md5((i % 500)::text)::uuid, 'text ' || i % 50, 'varchar ' || i % 20, 'c' || i % 30,
    (enum_range(NULL::mood))[1 + i % 3], ARRAY['l' || i % 40, 'l' || i % 41, 'all'], ARRAY[i % 17, i % 19],
    (SELECT array_agg(sin(i * 7919 * j)) FROM generate_series(1, 8) j) FROM generate_series(1, 3000) i;
UPDATE f SET b = NULL, i2 = NULL, i4 = NULL, i8 = NULL, f4 = NULL, f8 = NULL, n = NULL, d = NULL, t = NULL, ts = NULL,
    tz = NULL, u = NULL, s = NULL, v = NULL, c = NULL, m = NULL, tags = NULL, nums = NULL WHERE id % 13 = 0;
UPDATE f SET f4 = 'NaN', f8 = 'NaN', n = 'NaN', tags = '{}', nums = '{}' WHERE id % 101 = 0;
UPDATE f SET f4 = '-Infinity', f8 = 'Infinity', n = 1e400 WHERE id % 103 = 0;
UPDATE f SET i4 = 2147483647, i2 = -32768, i8 = 9223372036854775807, d = 'infinity', ts = '-infinity', tags = ARRAY[NULL, 'l1']
    WHERE id % 107 = 0;
CREATE INDEX f_all ON f USING ivf (e, b, i2, i4, i8, f4, f8, n, d, t, ts, tz, u, s, v, c, m, tags, nums) WITH (lists = 20);
-- Also for rows that are inserted later
INSERT INTO f SELECT id + 3000, b, i2, i4, i8, f4, f8, n, d, t, ts, tz, u, s, v, c, m, tags, nums, l2_normalize(e) * e FROM f WHERE id % 3 = 0;
DELETE FROM f WHERE id % 10 = 7;
VACUUM ANALYZE f;
SELECT ivf_check('f_all', true)->>'live' = (SELECT count(*)::text FROM f) AS checked;

-- The rows that pass a condition, in order, with and without the index; whether the index tested it alone
CREATE FUNCTION compare(condition text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE by_index int[]; by_scan int[]; plan text := ''; line text;
    query text := format('SELECT id FROM f WHERE %s ORDER BY e <-> ''[.1,.2,-.3,.4,.5,-.6,.7,.8]'', id LIMIT 2000', condition);
    ordered text := replace(query, ', id LIMIT', ' LIMIT');
BEGIN
    PERFORM set_config('ivf.recall_target', '1', true), set_config('enable_seqscan', 'off', true),
        set_config('enable_sort', 'off', true), set_config('enable_indexscan', 'on', true), set_config('enable_bitmapscan', 'off', true);
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || ordered LOOP plan := plan || line; END LOOP;
    EXECUTE format('SELECT array_agg(id) FROM (%s) s', ordered) INTO by_index;
    PERFORM set_config('enable_indexscan', 'off', true), set_config('enable_seqscan', 'on', true), set_config('enable_sort', 'on', true);
    EXECUTE format('SELECT array_agg(id) FROM (%s) s', query) INTO by_scan;
    RETURN format('%s: %s rows, %s, %s', condition, coalesce(cardinality(by_scan), 0),
        CASE WHEN plan ~ 'Index Cond' AND plan !~ 'Filter:' THEN 'index' WHEN plan ~ 'f_all' THEN 'filter' ELSE 'no index' END,
        CASE WHEN by_index IS NOT DISTINCT FROM by_scan THEN 'same' ELSE 'DIFFERENT' END);
END $$;
SELECT compare(c) FROM unnest(ARRAY['b', 'NOT b', 'b IS NULL', 'b IS NOT NULL', 'b IS TRUE']) c;
SELECT compare(format('%s %s %s', c, o, x)) FROM unnest('{i2,i4,i8}'::text[]) c, unnest('{<,<=,=,>=,>}'::text[]) o,
    unnest('{7::int2,-20,20000000000,-9223372036854775808,2147483647,(-32768)::int2}'::text[]) x;
SELECT compare(format('%s %s %s', c, o, x)) FROM unnest('{f4,f8}'::text[]) c, unnest('{<,<=,=,>=,>}'::text[]) o,
    unnest('{0.1,0.125::float4,-5,''NaN''::float4,''-Infinity''::float8}'::text[]) x;
SELECT compare(format('n %s %s', o, x)) FROM unnest('{<,<=,=,>=,>}'::text[]) o,
    unnest('{0,0.33333333333333333333,''NaN'',1e400,-1e400}'::text[]) x;
SELECT compare(format('%s %s %L', c, o, x)) FROM (VALUES ('d', '2024-05-05'), ('d', 'infinity'), ('t', '10:00'),
    ('ts', '2024-03-01 12:00'), ('ts', '-infinity'), ('tz', '2024-04-01 00:00+02')) v (c, x), unnest('{<,<=,=,>=,>}'::text[]) o;
SELECT compare(format('u %s %L', o, md5('78')::uuid)) FROM unnest('{<,<=,=,>=,>}'::text[]) o;
SELECT compare(c) FROM unnest(ARRAY[$$s = 'text 8'$$, $$s = 'nothing'$$, $$s > 'text 8'$$, $$v = 'varchar 3'$$, $$c = 'c1'$$,
    $$c = 'c1   '$$, $$m = 'happy'$$, $$m > 'sad'$$, $$s LIKE 'text 1%'$$]) c;
SELECT compare(c) FROM unnest(ARRAY['i4 IN (1, 2, 3)', 'i4 = ANY(NULL::int[])', 'i4 = ANY(''{}''::int[])', 'i4 = ANY(ARRAY[5, NULL])',
    'i4 < ANY(ARRAY[-490, 5])', 'i4 > ANY(ARRAY[-490, 5, NULL])', 'i4 = ANY(SELECT 5 UNION SELECT 6)', $$s IN ('text 1', 'text 2')$$,
    'i8 IN (10000000000, 20000000000)', 'i4 IN (SELECT generate_series(1, 40))',
    'i4 = ANY(ARRAY(SELECT generate_series(1, 40)))', $$m IN ('sad', 'ok')$$, 'f4 IN (0.1, 0.125)', 'n IN (0, 1)', 'i4 = NULL']) c;
SELECT compare(c) FROM unnest(ARRAY['i4 BETWEEN -5 AND 20', 'i4 > 5 AND i4 < 3', 'b AND i4 > 100 AND m = ''sad''', 's IS NULL',
    's IS NOT NULL AND i2 < 0', 'i4 < 0 OR i4 > 400', 'i4 = i2', 'i4 > 0 AND length(s) = 6', 'e IS NOT NULL AND b', 'i4 IS NULL AND b IS NULL']) c;
SELECT compare(c) FROM unnest(ARRAY[$$tags @> '{l1}'$$, $$tags @> '{l1,all}'$$, $$tags && '{l1,l2}'$$, $$tags @> '{}'$$, $$tags && '{}'$$,
    $$tags @> ARRAY[NULL]::text[]$$, $$tags && ARRAY[NULL, 'l1']$$, $$tags @> '{nothing}'$$, $$nums && '{3,4}'$$, $$nums @> '{3,4}'$$, 'tags IS NULL',
    $$tags = '{}'$$, $$'l1' = ANY(tags)$$]) c;

-- The default effort fills its LIMIT with rows that pass, in order
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM f WHERE tags @> '{l1}' AND i4 > 0 AND length(s) = 6 ORDER BY e <-> '[1,2,3,4,5,6,7,8]' LIMIT 5;
SELECT count(*), bool_and(d >= before) FROM (SELECT d, lag(d) OVER () AS before FROM (SELECT e <-> '[1,2,3,4,5,6,7,8]' AS d
    FROM f WHERE tags @> '{l1}' AND i4 > 0 ORDER BY e <-> '[1,2,3,4,5,6,7,8]' LIMIT 5) s) s;
-- A condition that changes with every row of a join
SELECT o.id, array_agg(i.id) FROM (SELECT id, i2, e FROM f WHERE id < 6) o, LATERAL (SELECT id FROM f WHERE f.i2 = o.i2
    ORDER BY f.e <-> o.e LIMIT 3) i GROUP BY 1 ORDER BY 1;
-- NULL queries, prepared statements
SELECT count(*) FROM (SELECT id FROM f WHERE i4 > 0 ORDER BY e <-> NULL::vector) s, (SELECT count(*) FROM f WHERE i4 > 0) c WHERE true;
SET plan_cache_mode = force_generic_plan;
PREPARE p(int, vector) AS SELECT id, i4 FROM f WHERE i4 = $1 ORDER BY e <-> $2 LIMIT 3;
EXPLAIN (COSTS OFF) EXECUTE p(5, '[1,2,3,4,5,6,7,8]');
EXECUTE p(5, '[1,2,3,4,5,6,7,8]');
EXECUTE p(NULL, '[1,2,3,4,5,6,7,8]');
RESET plan_cache_mode;
-- Rows without a vector are not in the index, so the planner does not use it for them
INSERT INTO f (id, i4) VALUES (100001, 5);
SELECT id FROM f WHERE e IS NULL ORDER BY e <-> '[1,2,3,4,5,6,7,8]' LIMIT 5;
SELECT count(*) FROM f WHERE i4 = 5;
RESET enable_seqscan;

-- Columns that an index cannot have
CREATE INDEX ON f USING ivf (i4, e);
CREATE INDEX ON f USING ivf (e, (e + e));
CREATE INDEX ON f USING ivf (i4);
CREATE INDEX ON f USING ivf (e, (point(1, 2)));
CREATE INDEX ON f USING ivf (e) INCLUDE (i4);
SELECT (ivf_index_info('f_all')->>'filter_columns')::int;
SELECT bool_and(amvalidate(oid)) FROM pg_opclass WHERE opcmethod = (SELECT oid FROM pg_am WHERE amname = 'ivf');

-- The verifier compares keys with the table's values: a function that is wrongly declared immutable leaves old keys
CREATE FUNCTION remainder(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN i % 10; END';
CREATE INDEX f_lies ON f USING ivf (e, (remainder(i4)));
SELECT ivf_check('f_lies', true)->>'live' AS live;
CREATE OR REPLACE FUNCTION remainder(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN i % 7; END';
SELECT ivf_check('f_lies')->>'live' AS live;
\set VERBOSITY sqlstate
SELECT ivf_check('f_lies', true);
\set VERBOSITY default
DROP TABLE f;
DROP FUNCTION compare, remainder;
DROP TYPE mood;
