-- Indexes over vector[] and halfvec[]: rows are found by sketches, and every value is computed from the table.
SET client_min_messages = warning;
SET jit = off;

CREATE TABLE few (id int PRIMARY KEY, tokens vector(2)[]);
INSERT INTO few VALUES (1, ARRAY['[1,0]', '[0,1]']::vector[]), (2, ARRAY['[-1,0]']::vector[]), (3, '{}'), (4, NULL),
    (5, ARRAY['[3,4]', '[0,0]', '[1,1]']::vector[]), (6, ARRAY['[0.5,0.5]']::vector[]);
CREATE INDEX few_i ON few USING ivf (tokens);
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM few ORDER BY tokens @# ARRAY['[1,0]', '[1,2]']::vector[] LIMIT 3;
-- A row without vectors comes last, NULL is not in the index.
SELECT id, tokens @# ARRAY['[1,0]', '[1,2]']::vector[] AS d FROM few
    ORDER BY tokens @# ARRAY['[1,0]', '[1,2]']::vector[] LIMIT 9;
-- A query without vectors has the same value for all rows; NULL has none.
SELECT count(*), max(d) FROM (SELECT tokens @# '{}'::vector[] AS d FROM few ORDER BY tokens @# '{}'::vector[] LIMIT 9) s;
SELECT count(*) FROM (SELECT id FROM few ORDER BY tokens @# NULL::vector[] LIMIT 9) s;
SELECT (ivf_check('few_i', true) ->> 'live')::int;

-- Texts of topics: a token is a word of the text's topic or of all, moved a little by the text.
CREATE FUNCTION text_of(n int, dims int DEFAULT 24) RETURNS vector[] LANGUAGE sql IMMUTABLE AS $$
    SELECT array_agg(token) FROM (
        SELECT l2_normalize(array_agg(sin(word * 7.31 + d * d * (0.37 + word % 5)) + 0.4 * cos(n * 1.7 + k * 0.9 + d * 3.1)
            ORDER BY d)::real[]::vector) AS token
        FROM (SELECT k, CASE WHEN k % 4 = 0 THEN k ELSE 100 + n % 15 * 40 + abs(hashint4(n * 31 + k)) % 20 END AS word
            FROM generate_series(1, 4 + abs(hashint4(n)) % 12) k) w, generate_series(1, dims) d
        GROUP BY k) s $$;
CREATE TABLE texts (id int PRIMARY KEY, kind int, tokens vector(24)[], halves halfvec(24)[]);
INSERT INTO texts SELECT n, n % 7, t, t::halfvec[] FROM (SELECT n, text_of(n) AS t FROM generate_series(1, 1500) n) s;
INSERT INTO texts VALUES (0, 0, '{}', '{}'), (-1, 1, NULL, NULL);
CREATE INDEX texts_v ON texts USING ivf (tokens, kind) WITH (lists = 10);
CREATE INDEX texts_h ON texts USING ivf (halves halfvec_maxsim_ops) WITH (lists = 10);
ANALYZE texts;
SELECT i ->> 'metric' AS metric, i ->> 'dimensions' AS dimensions, i -> 'sketch' ->> 'coordinates' AS sketch,
    (i -> 'sketch' ->> 'error')::float8 > 0 AS measured FROM ivf_index_info('texts_v') i;

-- Ten rows by an index, beside the same query without one: how many are missing, whether the order is right.
CREATE FUNCTION compare(query vector[], of_halves boolean DEFAULT false, condition text DEFAULT 'true')
    RETURNS TABLE (rows bigint, missing int, ordered boolean) LANGUAGE plpgsql AS $$
DECLARE
    value text := CASE WHEN of_halves THEN 'halves @# $1::halfvec[]' ELSE 'tokens @# $1' END;
    answer text := format('SELECT array_agg(d ORDER BY at) FROM (SELECT row_number() OVER () AS at, d FROM '
        '(SELECT %s AS d FROM texts WHERE %s ORDER BY %s LIMIT 10) s) s', value, condition, value);
    found float8[];
    truth float8[];
BEGIN
    SET LOCAL enable_seqscan = off;
    SET LOCAL enable_sort = off;
    EXECUTE answer INTO found USING query;
    SET LOCAL enable_seqscan = on;
    SET LOCAL enable_sort = on;
    SET LOCAL enable_indexscan = off;
    EXECUTE answer INTO truth USING query;
    SET LOCAL enable_indexscan = on;
    RETURN QUERY SELECT cardinality(found)::bigint,
        (SELECT count(*)::int FROM unnest(found) d WHERE d > truth[10]),
        found = ARRAY(SELECT d FROM unnest(found) d ORDER BY d);
END $$;

-- Nothing is missing at target 1.
SET ivf.recall_target = 1;
SELECT of_halves, q, rows, missing, ordered FROM unnest(ARRAY[false, true]) of_halves, generate_series(3001, 3003) q,
    compare(text_of(q), of_halves) ORDER BY of_halves, q;
SELECT rows, missing, ordered FROM compare(text_of(3001), false, 'kind = 3');
-- By default little is.
RESET ivf.recall_target;
SELECT of_halves, sum(rows) AS rows, sum(missing) < 50 AS close, bool_and(ordered) AS ordered
    FROM unnest(ARRAY[false, true]) of_halves, generate_series(3001, 3020) q, compare(text_of(q), of_halves)
    GROUP BY of_halves ORDER BY of_halves;
SELECT sum(rows) AS rows, sum(missing) < 30 AS close, bool_and(ordered) AS ordered
    FROM generate_series(3001, 3010) q, compare(text_of(q), false, 'kind = 3');
SELECT (ivf_recall('texts_v', 50, 10) ->> 'recall')::numeric > 0.85 AS recall;

-- What asks for all rows gets them: counts, ranges, thresholds.
SELECT count(*) FROM (SELECT id FROM texts ORDER BY tokens @# text_of(7)) s;
SELECT text_of(7) AS q \gset
WITH near AS MATERIALIZED (SELECT id FROM texts WHERE tokens @# :'q'::vector[] < -6),
    truth AS MATERIALIZED (SELECT id FROM texts WHERE (tokens @# :'q'::vector[]) + 0 < -6)
    SELECT (SELECT count(*) FROM near) = (SELECT count(*) FROM truth) AS same, count(*) > 5 AS some
    FROM near JOIN truth USING (id);
SELECT count(*) = (SELECT count(*) FROM texts WHERE (tokens @# :'q'::vector[]) + 0 < -6) AS same
    FROM (SELECT id FROM texts WHERE tokens @# :'q'::vector[] < -6 ORDER BY tokens @# :'q'::vector[]) s;

-- Rows come and go.
DELETE FROM texts WHERE id % 3 = 0;
VACUUM texts;
INSERT INTO texts SELECT n, n % 7, t, t::halfvec[] FROM (SELECT n, text_of(n) AS t FROM generate_series(1501, 1900) n) s;
UPDATE texts SET tokens = text_of(id + 5000) WHERE id BETWEEN 100 AND 200;
SELECT i, (ivf_check(i::regclass, true) ->> 'live')::int >= 1400 AS checked FROM unnest(ARRAY['texts_v', 'texts_h']) i;
SELECT (ivf_maintain('texts_v', true) ->> 'reason') AS reason;
SELECT (ivf_check('texts_v', true) ->> 'live')::int >= 1400 AS checked;
SELECT sum(rows) AS rows, sum(missing) < 50 AS close, bool_and(ordered) AS ordered
    FROM generate_series(3001, 3020) q, compare(text_of(q));
SELECT ivf_recalibrate('texts_v') ? 'calibration' AS calibrated;

-- Rows in the order of the index, a table without rows, and one whose rows are lost after a crash.
CLUSTER texts USING texts_pkey;
SELECT (ivf_check('texts_v', true) ->> 'live')::int >= 1400 AS checked;
CREATE UNLOGGED TABLE later (id int, tokens halfvec(24)[]);
CREATE INDEX later_i ON later USING ivf (tokens);
INSERT INTO later SELECT n, text_of(n)::halfvec[] FROM generate_series(1, 200) n;
SELECT id FROM later ORDER BY tokens @# text_of(77)::halfvec[] LIMIT 1;
SELECT (ivf_check('later_i', true) ->> 'live')::int;

-- MaxSim does not commute: a condition on the similarity of the query to the row is no bound of the order.
SET ivf.recall_target = 1;
SET plan_cache_mode = force_generic_plan;
PREPARE other_way(vector[], vector[]) AS SELECT count(*) FROM (SELECT FROM texts WHERE $1 @# tokens < -1.5 ORDER BY tokens @# $2 LIMIT 100000) x;
PREPARE other_way_once(vector[]) AS SELECT count(*) FROM (SELECT FROM texts WHERE $1 @# tokens < -1.5 ORDER BY tokens @# $1 LIMIT 100000) x;
SELECT (text_of(77))[1:1]::vector[] AS q \gset
SET enable_seqscan = off; SET enable_sort = off;
EXPLAIN (COSTS OFF) EXECUTE other_way_once(:'q');
EXECUTE other_way(:'q', :'q');
EXECUTE other_way_once(:'q');
SELECT count(*) AS all_rows FROM texts WHERE :'q'::vector[] @# tokens < -1.5;
RESET enable_seqscan; RESET enable_sort; RESET plan_cache_mode; RESET ivf.recall_target;

-- Errors.
SELECT id FROM texts ORDER BY tokens @# ARRAY['[1]']::vector[] LIMIT 1;
SELECT id FROM texts ORDER BY tokens @# ARRAY['[1]', NULL]::vector[] LIMIT 1;
INSERT INTO texts VALUES (9000, 1, ARRAY[(text_of(1))[1], NULL]);
INSERT INTO texts VALUES (9000, 1, ARRAY[text_of(1), text_of(1)]);
SELECT * FROM ivf_neighbours('texts_v', ARRAY['[1]'::vector]);
SELECT ivf_recalibrate('texts_v', ARRAY['[1]'::vector]);
CREATE TABLE free (id int, tokens vector[]);
CREATE INDEX ON free USING ivf (tokens);
CREATE INDEX ON free USING ivf (tokens) WITH (dimensions = 2001);
INSERT INTO free VALUES (1, '{}'), (2, ARRAY['[1,2]']::vector[]), (3, ARRAY['[1,2]', '[1,2,3]']::vector[]);
CREATE INDEX ON free USING ivf (tokens);
DELETE FROM free WHERE id = 3;
-- A deleted row that older snapshots may see is left out.
BEGIN;
INSERT INTO free VALUES (4, ARRAY['[1,2]', '[1,2,3]']::vector[]), (5, ARRAY['[1,2]', NULL]::vector[]);
DELETE FROM free WHERE id > 3;
CREATE INDEX of_living ON free USING ivf (tokens);
ROLLBACK;
VACUUM free;
CREATE INDEX ON free USING ivf (tokens);
INSERT INTO free VALUES (3, ARRAY['[1,2,3]']::vector[]);
INSERT INTO free VALUES (3, ARRAY['[2,2]']::vector[]);
SELECT id FROM free ORDER BY tokens @# ARRAY['[1,1]']::vector[] LIMIT 3;
DROP TABLE few, texts, later, free;
DROP FUNCTION text_of, compare;
