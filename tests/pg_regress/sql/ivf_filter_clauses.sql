-- Conditions on filter columns that the planner leaves to the filter: OR, NOT, <>, lists, booleans.
CREATE TABLE f (id int PRIMARY KEY, a int, w bigint, r real, n numeric, flag bool, s text, u uuid, tags text[], e vector(4));
INSERT INTO f SELECT i, i % 50, i % 40 * 10000000000, (i % 30) / 8.0, (i % 30) / 3.0, i % 3 = 0, 'text ' || i % 20,
    md5((i % 90)::text)::uuid, ARRAY['l' || i % 7, 'l' || i % 11], ARRAY[sin(i), cos(i), sin(i * 0.7), cos(i * 0.3)]
    FROM generate_series(1, 4000) i;
UPDATE f SET a = NULL, w = NULL, r = NULL, n = NULL, flag = NULL, s = NULL, u = NULL, tags = NULL WHERE id % 13 = 0;
UPDATE f SET r = 'NaN', n = 'NaN', flag = NULL WHERE id % 101 = 0;
CREATE INDEX f_i ON f USING ivf (e, a, w, r, n, flag, s, u, tags, (a % 7)) WITH (lists = 20);
VACUUM ANALYZE f;

-- Whether the index leaves out rows that it reads, and the rows are those of a sequential scan
CREATE FUNCTION compare(condition text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE by_index int[]; by_scan int[]; excludes bool;
    query text := format('SELECT id FROM f WHERE %s ORDER BY e <-> ''[.1,.2,-.3,.4]''', condition);
BEGIN
    PERFORM set_config('ivf.recall_target', '1', true), set_config('enable_seqscan', 'off', true),
        set_config('enable_sort', 'off', true), set_config('enable_indexscan', 'on', true), set_config('enable_bitmapscan', 'off', true);
    EXECUTE format('SELECT array_agg(id) FROM (%s LIMIT 3000) s', query) INTO by_index;
    SELECT (l->>'excluded')::int + (l->>'skipped')::int > 0 INTO excludes FROM ivf_last_scan() l;
    PERFORM set_config('enable_indexscan', 'off', true), set_config('enable_seqscan', 'on', true), set_config('enable_sort', 'on', true);
    EXECUTE format('SELECT array_agg(id) FROM (%s, id LIMIT 3000) s', query) INTO by_scan;
    RETURN format('%s: %s rows, %s, %s', condition, coalesce(cardinality(by_scan), 0),
        CASE WHEN excludes THEN 'some left out' ELSE 'none left out' END,
        CASE WHEN by_index IS NOT DISTINCT FROM by_scan THEN 'same' ELSE 'DIFFERENT' END);
END $$;
SELECT compare(c) FROM unnest(ARRAY['a = 1 OR w > 350000000000', 'a = 1 OR a IS NULL', 'a < 3 OR (a > 40 AND flag) OR n = 2', 'a = 1 OR id < 20',
    'a = 1 OR (id < 2000 AND a = 3)', '(a = 1 OR a = 5) AND (w = 50000000000 OR s = ''text 1'')', 'a % 7 = 3 OR a = 7', 'a = 1 OR id % 2 = length(s)',
    '5 > a OR 45 <= a', 'a = 7 OR a = 20000000000', 'a = 7 OR a > 20000000000', 'a = NULL OR flag IS NULL', 'a = 1 OR NULL']) c;
-- A condition below NOT is false, and not NULL
SELECT compare(c) FROM unnest(ARRAY['a <> 3', 'NOT (a = 3)', 'NOT (a = 3 OR a > 20)', 'NOT (a < 30 AND flag)', 'NOT (a < 30 OR n > 5)', 'NOT (a BETWEEN 5 AND 45)',
    'a <> 20000000000', 'a <> NULL', 'NOT (a = 3 AND a = 4)', 'NOT (a = 3 OR id = 4)', 'NOT (a < 48 OR id = 4)', 'NOT (a IS NULL OR a > 5)', 'NOT (NOT (a < 5 OR flag))',
    'r <> 0.125', 'r <> 0.1', 'NOT r < 2', 'NOT (r > 1 OR r = 0)', 'NOT (n < 2 OR n > 3)', 'n <> 2', 'NOT (s = ''text 3'' OR a > 9)', 's <> ''text 3''',
    'NOT (u < md5(''78'')::uuid OR a > 30)', 'NOT (tags @> ''{l1}'' OR a < 40)', 'tags @> ''{l1}'' OR tags && ''{l5,l9}''']) c;
-- Lists
SELECT compare(c) FROM unnest(ARRAY['a IN (3, 5)', 'a NOT IN (3, 5)', 'a IN (3, NULL)', 'a NOT IN (3, NULL)', 'a NOT IN (3, 20000000000)', 'NOT a = ANY(''{}''::int[])',
    'a <> ALL(''{}''::int[])', 'a = ANY(NULL::int[])', 'a <> ALL(NULL::int[])', 'a = ALL(''{3,3}'')', 'a = ALL(''{3,4}'')', 'a < ALL(''{9,20}'')', 'NOT a < ANY(''{9,20}'')',
    'NOT a < ALL(''{9,20}'')', 'a > ANY(''{9,20,NULL}'')', 'a <> ANY(''{3,4}'')', 'a = ANY(ARRAY(SELECT generate_series(1, 30)))', 's IN (''text 1'', ''text 2'') OR a = 3',
    's NOT IN (''text 1'', ''text 2'')', 'a IN (1, 2) OR w IN (0, 10000000000)', 'NOT (a IN (1, 2) OR w NOT IN (0, 10000000000))', 'r IN (0.125, 1) OR n IN (1, 2)']) c;
SELECT compare(format('a %s ((SELECT array_agg(x) FROM generate_series(1, 40) x)::int[])', o)) FROM unnest('{= ANY,<> ALL}'::text[]) o;
-- Arrays of arrays
CREATE DOMAIN labels AS text[];
SELECT compare(format('tags %s ANY (%L::labels[])', o, a)) FROM unnest('{@>,&&}'::text[]) o, unnest(ARRAY['{"{l1}","{l2,l8}"}', '{"{l1}",NULL}', '{"{}"}', '{}']) a;
SELECT compare('NOT (tags @> ANY (''{"{l1}","{l2,l8}"}''::labels[]) OR a < 40)');
-- Booleans
SELECT compare(c) FROM unnest(ARRAY['flag', 'NOT flag', 'flag IS TRUE', 'flag IS NOT TRUE', 'flag IS FALSE', 'flag IS NOT FALSE', 'flag IS UNKNOWN', 'flag IS NOT UNKNOWN',
    'flag = false', 'flag <> true', 'flag OR a = 1', 'NOT flag OR a = 1', 'NOT (flag OR a = 1)', 'NOT (flag IS NOT TRUE)', 'NOT (flag IS UNKNOWN OR a > 9)',
    '(flag IS NOT FALSE OR a = 1) AND a < 9']) c;
-- Values that are known when the scan starts; what may raise an error is left to the filter
SET enable_seqscan = off;
SET plan_cache_mode = force_generic_plan;
PREPARE p(int, int) AS SELECT count(*) FROM (SELECT id FROM f WHERE a = $1 OR w = $2 * 10000000000 ORDER BY e <-> '[.1,.2,-.3,.4]' LIMIT 1000) s;
PREPARE q(int, bigint) AS SELECT count(*) FROM (SELECT id FROM f WHERE a = $1 OR w = $2 ORDER BY e <-> '[.1,.2,-.3,.4]' LIMIT 1000) s;
PREPARE d(int) AS SELECT count(*) FROM (SELECT id FROM f WHERE $1 = 0 OR a = 10 / $1 ORDER BY e <-> '[.1,.2,-.3,.4]' LIMIT 1000) s;
EXPLAIN (COSTS OFF) EXECUTE q(1, 20000000000);
EXECUTE p(1, 2);
EXECUTE q(1, 20000000000);
SELECT (l->>'excluded')::int > 2000 AS excludes FROM ivf_last_scan() l;
EXECUTE q(1, NULL);
EXECUTE q(NULL, NULL);
EXECUTE d(0);
EXECUTE d(2);
RESET plan_cache_mode;
-- Values that change with each row of a join
SELECT o.id, count(*), min(i.a), max(i.a) FROM (SELECT id, a, e FROM f WHERE id IN (1, 2, 26)) o, LATERAL (SELECT id, a FROM f WHERE f.a = o.a OR f.a = o.a + 1 OR f.a = o.id
    ORDER BY f.e <-> o.e LIMIT 200) i GROUP BY 1 ORDER BY 1;
-- Range search, and a limit that is filled
SELECT count(*) FROM f WHERE e <-> '[.1,.2,-.3,.4]' < 1 AND (a = 1 OR w = 0);
SELECT (l->>'excluded')::int > 2000 AS excludes FROM ivf_last_scan() l;
RESET enable_seqscan;
SELECT count(*) FROM f WHERE e <-> '[.1,.2,-.3,.4]' < 1 AND (a = 1 OR w = 0);
SELECT count(*) FROM (SELECT id FROM f WHERE a = 1 OR w = 0 ORDER BY e <-> '[.1,.2,-.3,.4]' LIMIT 50) s;
-- The planner expects fewer rows to be compared
CREATE FUNCTION cost(query text) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE plan jsonb;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
    RETURN plan->0->'Plan'->>'Total Cost';
END $$;
SET enable_seqscan = off;
SET enable_sort = off;
SELECT cost('SELECT id FROM f WHERE a < 2 OR w < 5 ORDER BY e <-> ''[1,2,3,4]'' LIMIT 100')
    < cost('SELECT id FROM f WHERE id < 80 OR id > 3880 ORDER BY e <-> ''[1,2,3,4]'' LIMIT 100') AS cheaper;
RESET enable_seqscan;
RESET enable_sort;
-- Indexes over other expressions, and another collation
CREATE TABLE words (id int, word text COLLATE "C", e vector(2));
INSERT INTO words SELECT i, (ARRAY['Sea', 'sea', 'SEA', 'see'])[1 + i % 4], ARRAY[i, 1] FROM generate_series(1, 40) i;
CREATE INDEX ON words USING ivf (e, word, (id > 20), upper(word));
SET enable_seqscan = off;
CREATE FUNCTION found(condition text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE rows int;
BEGIN
    EXECUTE format('SELECT count(*) FROM (SELECT FROM words WHERE %s ORDER BY e <-> ''[0,0]'' LIMIT 100) s', condition) INTO rows;
    RETURN format('%s: %s rows, %s left out', condition, rows,
        CASE WHEN (ivf_last_scan()->>'excluded')::int > 0 THEN 'some' ELSE 'none' END);
END $$;
SELECT found(c) FROM unnest(ARRAY[$$word = 'sea' OR id = 3 AND word = 'see'$$, $$word = 'sea' OR upper(word) = 'SEE'$$,
    $$word = 'sea' COLLATE "POSIX" OR upper(word) = 'SEE'$$, $$id > 20 OR upper(word) = 'SEE'$$, $$NOT (id > 20 OR word = 'see')$$, $$NOT (id > 20 OR id = 3)$$,
    $$(id > 20) IS NOT TRUE$$]) c;
-- Hidden rows: an operator that might tell of them is left to the filter
CREATE TABLE secret (id int, owner text, a int, n numeric, e vector(2));
INSERT INTO secret SELECT i, CASE WHEN i % 2 = 0 THEN 'regress_reader' ELSE 'other' END, i % 50, i % 50, ARRAY[i, 1] FROM generate_series(1, 400) i;
CREATE INDEX ON secret USING ivf (e, a, n);
CREATE TABLE parts (LIKE secret) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (1000);
INSERT INTO parts SELECT * FROM secret;
CREATE INDEX ON parts USING ivf (e, a, n);
CREATE VIEW barrier WITH (security_barrier) AS SELECT * FROM secret WHERE e <-> '[0,0]' < 1000;
CREATE VIEW plain_view AS SELECT * FROM secret;
-- The elements of a column, here arrays themselves, are no values of the column.
CREATE DOMAIN pair AS int[];
CREATE TABLE pairs_of (id int, e vector(2), c pair[]);
INSERT INTO pairs_of SELECT n, '[1,1]', ARRAY[ARRAY[n, 2]::pair] FROM generate_series(1, 9) n;
CREATE INDEX ON pairs_of USING ivf (e, c);
SELECT id FROM pairs_of WHERE ARRAY[1, 7] && ANY (c) ORDER BY e <-> '[0,0]', id LIMIT 3;
SELECT id FROM pairs_of WHERE ARRAY[3] <@ ANY (c) ORDER BY e <-> '[0,0]', id LIMIT 3;
DROP TABLE pairs_of;
DROP DOMAIN pair;
-- A subquery that may raise an error is not evaluated before the row needs it.
SELECT count(*) FROM (SELECT FROM f WHERE a >= 0 OR a IS NULL OR a = (SELECT a FROM f) ORDER BY e <-> '[0,0,0,0]' LIMIT 3) s;
CREATE ROLE regress_reader;
GRANT SELECT ON secret, parts, barrier, plain_view TO regress_reader;
GRANT UPDATE ON barrier TO regress_reader;
CREATE FUNCTION left_out(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE rows int;
BEGIN
    EXECUTE query INTO rows;
    RETURN format('%s: %s rows, %s left out', query, rows,
        CASE WHEN (ivf_last_scan()->>'excluded')::int > 0 THEN 'some' ELSE 'none' END);
END $$;
PREPARE hidden AS SELECT left_out(format('SELECT count(*) FROM (SELECT FROM %s WHERE %s ORDER BY e <-> ''[0,0]'' LIMIT 200) s', t, c))
    FROM unnest('{secret,parts,plain_view}'::text[]) t, unnest('{a < 5 OR a > 40,n < 5 OR n > 40,n <> 3,NOT (n < 45 OR a = 48)}'::text[]) c;
EXECUTE hidden;
UPDATE barrier SET a = a WHERE n < 5 OR n > 40;
SELECT ivf_last_scan()->>'excluded' AS left_out;
UPDATE barrier SET a = a WHERE a < 5 OR a > 40;
SELECT ivf_last_scan()->>'excluded' AS left_out;
ALTER VIEW plain_view SET (security_invoker = on);
ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
ALTER TABLE parts ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON secret USING (owner = current_user);
CREATE POLICY own ON parts USING (owner = current_user);
SET ROLE regress_reader;
EXECUTE hidden;
RESET ROLE;
RESET enable_seqscan;
DROP VIEW barrier, plain_view;
DROP TABLE f, words, secret, parts;
DROP ROLE regress_reader;
DROP DOMAIN labels;
DROP FUNCTION compare, cost, found, left_out;
