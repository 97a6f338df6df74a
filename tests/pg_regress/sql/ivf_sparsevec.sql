-- Indexes over sparsevec. Rows are found by sketches, and every distance is computed from the table.
SET client_min_messages = warning;

-- Few dimensions: nothing is lost.
CREATE TABLE few (id int PRIMARY KEY, e sparsevec(5));
INSERT INTO few VALUES (1, '{1:1}/5'), (2, '{2:-2}/5'), (3, '{}/5'), (4, NULL), (5, '{1:3,5:4}/5'),
    (6, '{1:1,2:1,3:1,4:1,5:1}/5');
CREATE INDEX few_l2 ON few USING ivf (e sparsevec_l2_ops);
CREATE INDEX few_ip ON few USING ivf (e sparsevec_ip_ops);
CREATE INDEX few_cosine ON few USING ivf (e sparsevec_cosine_ops);
CREATE INDEX few_l1 ON few USING ivf (e sparsevec_l1_ops);
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM few ORDER BY e <-> '{1:1}/5' LIMIT 3;
SELECT id, e <-> '{1:1}/5' AS d FROM few ORDER BY e <-> '{1:1}/5' LIMIT 5;
SELECT id, e <#> '{1:1}/5' AS d FROM few ORDER BY e <#> '{1:1}/5' LIMIT 2;
-- An empty vector has no direction.
SELECT id, round((e <=> '{1:1}/5')::numeric, 6) AS d FROM few ORDER BY e <=> '{1:1}/5' LIMIT 9;
SELECT id, e <+> '{1:1}/5' AS d FROM few ORDER BY e <+> '{1:1}/5' LIMIT 9;
-- The functions' names, too.
EXPLAIN (COSTS OFF) SELECT id FROM few ORDER BY l2_distance(e, '{1:1}/5') LIMIT 3;
SELECT count(*) FROM (SELECT id FROM few ORDER BY e <=> '{}/5' LIMIT 9) s;
SELECT count(*) FROM (SELECT id FROM few ORDER BY e <-> NULL LIMIT 9) s;
SELECT (ivf_check(i::regclass, true) ->> 'live')::int FROM unnest(ARRAY['few_l2', 'few_cosine']) i;

-- Many dimensions: texts of a few topics, by hashes.
CREATE FUNCTION text_of(n int, dims int) RETURNS sparsevec LANGUAGE sql IMMUTABLE AS $$
    SELECT format('{%s}/%s', string_agg(i || ':' || w, ',' ORDER BY i), dims)::sparsevec FROM (
        SELECT 1 + abs(hashint4(CASE WHEN k % 4 = 0 THEN n * 100 + k ELSE n % 20 * 1000 + k + hashint4(n + k) % 3 END)::bigint)
            % dims AS i, max(1 + abs(hashint4(n * 31 + k)) % 50) AS w
        FROM generate_series(1, 40) k GROUP BY 1) s $$;
CREATE TABLE texts (id int PRIMARY KEY, kind int, e sparsevec(1000000000));
INSERT INTO texts SELECT n, n % 7, text_of(n, 1000000000) FROM generate_series(1, 2000) n;
INSERT INTO texts VALUES (0, 0, '{}/1000000000'), (-1, 1, '{1000000000:-0.5}/1000000000'), (-2, 2, NULL);
CREATE INDEX texts_l2 ON texts USING ivf (e sparsevec_l2_ops, kind) WITH (lists = 12);
CREATE INDEX texts_ip ON texts USING ivf (e sparsevec_ip_ops) WITH (lists = 12);
CREATE INDEX texts_cosine ON texts USING ivf (e sparsevec_cosine_ops, kind) WITH (lists = 12);
CREATE INDEX texts_l1 ON texts USING ivf (e sparsevec_l1_ops) WITH (lists = 12);
ANALYZE texts;

-- Ten rows by an index, beside the same query without one: how many are missing, whether the order is right.
CREATE FUNCTION compare(op text, query sparsevec, condition text DEFAULT 'true')
    RETURNS TABLE (rows bigint, missing int, ordered boolean) LANGUAGE plpgsql AS $$
DECLARE
    answer text := format('SELECT array_agg(d ORDER BY at) FROM (SELECT row_number() OVER () AS at, d FROM '
        '(SELECT e %s $1 AS d FROM texts WHERE %s ORDER BY e %s $1 LIMIT 10) s) s', op, condition, op);
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
SELECT op, q, rows, missing, ordered FROM unnest(ARRAY['<->', '<=>', '<#>', '<+>']) op, generate_series(3001, 3003) q,
    compare(op, text_of(q, 1000000000)) ORDER BY op, q;
SELECT op, rows, missing, ordered FROM unnest(ARRAY['<->', '<=>']) op, compare(op, text_of(3001, 1000000000), 'kind = 3')
    ORDER BY op;
-- By default little is.
RESET ivf.recall_target;
SELECT op, sum(rows) AS rows, sum(missing) < 30 AS close, bool_and(ordered) AS ordered
    FROM unnest(ARRAY['<->', '<=>', '<#>', '<+>']) op, generate_series(3001, 3020) q,
        compare(op, text_of(q, 1000000000)) GROUP BY op ORDER BY op;
SELECT op, sum(rows) AS rows, sum(missing) < 15 AS close, bool_and(ordered) AS ordered
    FROM unnest(ARRAY['<->', '<=>']) op, generate_series(3001, 3010) q,
        compare(op, text_of(q, 1000000000), 'kind = 3') GROUP BY op ORDER BY op;
SELECT (ivf_recall('texts_cosine', 50, 10) ->> 'recall')::numeric > 0.85 AS recall;

-- What asks for all rows gets them: counts, ranges, thresholds.
SELECT count(*) FROM (SELECT id FROM texts ORDER BY e <=> text_of(7, 1000000000)) s;
SELECT text_of(7, 1000000000) AS q \gset
WITH near AS MATERIALIZED (SELECT id FROM texts WHERE e <-> :'q' < 300),
    truth AS MATERIALIZED (SELECT id FROM texts WHERE (e <-> :'q') + 0 < 300)
    SELECT (SELECT count(*) FROM near) = (SELECT count(*) FROM truth) AS same, count(*) > 20 AS some
    FROM near JOIN truth USING (id);
SELECT count(*) = (SELECT count(*) FROM texts WHERE (e <=> :'q') + 0 < 0.8) AS same
    FROM (SELECT id FROM texts WHERE e <=> :'q' < 0.8 ORDER BY e <=> :'q') s;

-- Rows come and go.
DELETE FROM texts WHERE id % 3 = 0;
VACUUM texts;
INSERT INTO texts SELECT n, n % 7, text_of(n, 1000000000) FROM generate_series(2001, 2600) n;
UPDATE texts SET e = text_of(id + 5000, 1000000000) WHERE id BETWEEN 100 AND 200;
SELECT i, (ivf_check(i::regclass, true) ->> 'live')::int >= 1935 AS checked
    FROM unnest(ARRAY['texts_l2', 'texts_ip', 'texts_cosine', 'texts_l1']) i;
SELECT (ivf_maintain('texts_cosine', true) ->> 'reason') AS reason;
SELECT (ivf_check('texts_cosine', true) ->> 'live')::int >= 1935 AS checked;
SELECT sum(rows) AS rows, sum(missing) < 30 AS close, bool_and(ordered) AS ordered
    FROM generate_series(3001, 3020) q, compare('<=>', text_of(q, 1000000000));
SELECT ivf_recalibrate('texts_cosine') ? 'calibration' AS calibrated;
SELECT i ->> 'metric' AS metric, i ->> 'dimensions' AS dimensions, i -> 'sketch' ->> 'coordinates' AS sketch
    FROM ivf_index_info('texts_cosine') i;

-- All 16,000 elements are indexed.
INSERT INTO texts SELECT 9000, 1, format('{%s}/1000000000', string_agg(i * 50 || ':' || i % 9 + 1, ','))::sparsevec
    FROM generate_series(1, 16000) i;
SELECT id FROM texts ORDER BY e <=> (SELECT e FROM texts WHERE id = 9000) LIMIT 1;

-- Queries of a table are short values, which are not aligned there.
CREATE TABLE asked AS SELECT n, format('{%s:1,%s:%s}/1000000000', n, 7 * n + 3, n % 5 + 1)::sparsevec AS e FROM generate_series(1, 50) n;
SET ivf.recall_target = 1;
SELECT count(*) AS asked, count(*) FILTER (WHERE by_index = by_scan) AS same FROM asked q,
    LATERAL (SELECT t.e <-> q.e AS by_index FROM texts t ORDER BY t.e <-> q.e LIMIT 1) a,
    LATERAL (SELECT min((t.e <-> q.e) + 0) AS by_scan FROM texts t) b;
RESET ivf.recall_target;
DROP TABLE asked;

-- Errors.
SELECT id FROM texts ORDER BY e <-> '{1:1}/5' LIMIT 1;
SELECT * FROM ivf_neighbours('texts_l2', ARRAY['[1]'::vector]);
SELECT * FROM ivf_neighbour_graph('texts_l2');
SELECT ivf_recalibrate('texts_l2', ARRAY['[1]'::vector]);
CREATE TABLE free (e sparsevec);
INSERT INTO free VALUES ('{1:1}/2000'), ('{1:1}/3000');
CREATE INDEX ON free USING ivf (e sparsevec_l2_ops);
DELETE FROM free WHERE e = '{1:1}/3000';
VACUUM free;
CREATE INDEX ON free USING ivf (e sparsevec_l2_ops);
INSERT INTO free VALUES ('{1:1}/3000');
INSERT INTO free VALUES ('{5:1}/2000');
SELECT e FROM free ORDER BY e <-> '{5:1}/2000' LIMIT 2;
DROP TABLE few, texts, free;
DROP FUNCTION text_of, compare;
