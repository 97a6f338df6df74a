-- Pages of one query by LIMIT and OFFSET are slices of one sequence: no row is on two pages.
SET search_path = public;
SET enable_seqscan = off;
SELECT setseed(0.42);
CREATE TABLE centres AS SELECT c, (SELECT array_agg(random() * 2 - 1) FROM generate_series(1, 24) WHERE c > 0) a
    FROM generate_series(1, 40) c;
CREATE TABLE pages (id int PRIMARY KEY, category int, e vector(24));
INSERT INTO pages SELECT i, i % 10, (SELECT array_agg(x + (random() - .5) * 1.2 ORDER BY o)::vector
    FROM unnest(c.a) WITH ORDINALITY u(x, o)) FROM generate_series(1, 12000) i JOIN centres c ON c.c = 1 + (i * 7919) % 40;
CREATE INDEX by_cosine ON pages USING ivf (e vector_cosine_ops, category);
CREATE INDEX by_half ON pages USING ivf ((e::halfvec(24)) halfvec_l2_ops);
CREATE INDEX by_bits ON pages USING ivf ((binary_quantize(e)::bit(24)) bit_hamming_ops) WITH (lists = 40);
CREATE TABLE parts (id int, e vector(24)) PARTITION BY RANGE (id);
CREATE TABLE parts1 PARTITION OF parts FOR VALUES FROM (0) TO (5000);
CREATE TABLE parts2 PARTITION OF parts FOR VALUES FROM (5000) TO (99999);
INSERT INTO parts SELECT id, e FROM pages;
CREATE INDEX ON parts USING ivf (e vector_l2_ops);
VACUUM ANALYZE pages;
ANALYZE parts;

-- For a query with $1 for the vector: number of pages that differ from slices of one cursor's rows, of rows shown twice, of rows.
CREATE FUNCTION wrong_pages(query text, size int, many int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    q record;
    n int;
    shown int[];
    page int[];
    first int[];
    twice int := 0;
    missing int := 0;
    rows int := 0;
BEGIN
    FOR q IN SELECT e FROM pages WHERE id % 1501 = 0 LOOP
        shown := '{}';
        FOR n IN 0..many - 1 LOOP
            EXECUTE format('SELECT array_agg(id) FROM (%s LIMIT %s OFFSET %s) s', query, size, n * size) INTO page USING q.e;
            shown := shown || page;
            IF n = 0 THEN
                EXECUTE format('SELECT array_agg(id) FROM (%s LIMIT %s) s', query, size) INTO first USING q.e;
                IF first IS DISTINCT FROM page THEN missing := missing + 1; END IF;
            END IF;
        END LOOP;
        -- A page in the middle.
        EXECUTE format('SELECT array_agg(id) FROM (%s LIMIT %s OFFSET %s) s', query, size, size / 2 + size) INTO page USING q.e;
        IF page IS DISTINCT FROM shown[size + size / 2 + 1 : 2 * size + size / 2] THEN missing := missing + 1; END IF;
        twice := twice + cardinality(shown) - (SELECT count(DISTINCT u) FROM unnest(shown) u);
        rows := rows + cardinality(shown);
    END LOOP;
    -- How many rows few lists contain depends on the build.
    RETURN format('%s rows twice, %s pages differ%s', twice, missing, CASE WHEN rows = 0 THEN ', no rows' END);
END $$;

SELECT wrong_pages('SELECT id FROM pages ORDER BY e <=> $1', 10, 20);
SELECT wrong_pages('SELECT id FROM pages ORDER BY e <=> $1', 1, 30);
SELECT wrong_pages('SELECT id FROM pages ORDER BY e <=> $1', 100, 10);
SELECT wrong_pages('SELECT id FROM pages WHERE category = 3 ORDER BY e <=> $1', 10, 20);
SELECT wrong_pages('SELECT id FROM pages WHERE category IN (3, 4) AND id % 7 = 0 ORDER BY e <=> $1', 10, 10);
SELECT wrong_pages('SELECT id FROM pages WHERE id % 100 < 15 ORDER BY e <=> $1', 10, 20);
SELECT wrong_pages('SELECT id FROM pages WHERE e <=> $1 < .9 ORDER BY e <=> $1', 10, 20);
SELECT wrong_pages('SELECT id FROM pages ORDER BY e::halfvec(24) <-> $1::halfvec(24)', 10, 20);
SELECT wrong_pages('SELECT id FROM pages ORDER BY binary_quantize(e)::bit(24) <~> binary_quantize($1)', 10, 20);
SELECT wrong_pages('SELECT id FROM parts ORDER BY e <-> $1', 10, 20);
SELECT wrong_pages('SELECT id FROM (SELECT id, e <=> $1 FROM pages ORDER BY e <=> $1) s', 10, 10);
SET ivf.recall_target = 0.8;
SELECT wrong_pages('SELECT id FROM pages ORDER BY e <=> $1', 10, 20);
RESET ivf.recall_target;
SET ivf.probes = 2;
SELECT wrong_pages('SELECT id FROM pages ORDER BY e <=> $1', 10, 20);
SET ivf.iterative_scan = relaxed_order;
SELECT wrong_pages('SELECT id FROM pages ORDER BY e <=> $1', 10, 20);
RESET ivf.probes;
SELECT wrong_pages('SELECT id FROM pages WHERE category = 3 ORDER BY e <=> $1', 10, 20);
SET ivf.iterative_scan = off;
SELECT wrong_pages('SELECT id FROM pages ORDER BY e <=> $1', 10, 20);
RESET ivf.iterative_scan;
SET work_mem = '64kB';
SELECT wrong_pages('SELECT id FROM pages ORDER BY e <=> $1', 100, 10);
RESET work_mem;

-- The page as parameters, in custom and generic plans.
CREATE FUNCTION prepared_pages() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    shown int[] := '{}';
    page int[];
    n int;
BEGIN
    FOR n IN 0..19 LOOP
        EXECUTE format('EXECUTE one_page(%L, 10, %s)', (SELECT e FROM pages WHERE id = 77), 10 * n) INTO page;
        shown := shown || page;
    END LOOP;
    RETURN format('%s rows, %s different', cardinality(shown), (SELECT count(DISTINCT u) FROM unnest(shown) u));
END $$;
PREPARE one_page(vector, int, int) AS
    SELECT array_agg(id) FROM (SELECT id FROM pages ORDER BY e <=> $1 LIMIT $2 OFFSET $3) s;
SET plan_cache_mode = force_generic_plan;
SELECT prepared_pages();
SET plan_cache_mode = force_custom_plan;
SELECT prepared_pages();
RESET plan_cache_mode;
DEALLOCATE one_page;

-- Pages beyond the last row, and with ties.
SELECT count(*) FROM (SELECT id FROM pages ORDER BY e <=> '[1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]' LIMIT 10 OFFSET 12000) s;
SELECT count(*) > 11000 FROM (SELECT id FROM pages ORDER BY e <=> '[1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]' LIMIT 12000) s;
SELECT count(*) >= 10 FROM (SELECT id FROM pages ORDER BY binary_quantize(e)::bit(24) <~> B'111111111111000000000000'
    OFFSET 20 FETCH FIRST 10 ROWS WITH TIES) s;

-- A filter that is correlated with the vectors: all rows that pass are on some page.
CREATE TABLE grouped AS SELECT i AS id, i % 50 AS c,
    (SELECT array_agg(sin(i % 50 * 7.3 * x + i % 50) + sin(i * x * 0.37) * 0.8 ORDER BY x) FROM generate_series(1, 16) x)::vector(16) AS e
    FROM generate_series(1, 15000) i;
CREATE INDEX ON grouped USING ivf (e);
ANALYZE grouped;
SELECT sum((SELECT count(*) FROM (SELECT id FROM grouped WHERE id % 50 IN (1, 20, 30)
    ORDER BY e <-> (SELECT e FROM grouped WHERE id = q.id) LIMIT 25 OFFSET 25 * p) s)), count(DISTINCT q.id)
    FROM (VALUES (2452), (3065), (1839)) q (id), generate_series(0, 36) p;
SET ivf.recall_target = 0.8;
SELECT count(*) FROM (SELECT id FROM grouped WHERE c = 7 ORDER BY e <-> (SELECT e FROM grouped WHERE id = 2452) LIMIT 299) s;
SELECT count(*) FROM (SELECT id FROM grouped WHERE id % 50 IN (1, 20, 30)
    ORDER BY e <-> (SELECT e FROM grouped WHERE id = 2452) LIMIT 895) s;
RESET ivf.recall_target;
-- A result is in order at any OFFSET, and also if nodes above the scan drop rows.
CREATE FUNCTION disorder(tail text, first int, step int) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE wrong bigint = 0; n bigint; BEGIN
    FOR q IN 1..12 LOOP FOR p IN 0..5 LOOP
        EXECUTE format('SELECT count(*) FROM (SELECT d, lag(d) OVER (ORDER BY n) AS before FROM (SELECT d, row_number() OVER () AS n
            FROM (SELECT e <-> (SELECT e FROM grouped WHERE id = %s) AS d FROM grouped WHERE id %% 50 IN (1, 20, 30) ORDER BY d %s) a) b) c
            WHERE d < before', q * 611, format(tail, first + step * p)) INTO n;
        wrong = wrong + n;
    END LOOP; END LOOP;
    RETURN wrong;
END $$;
SELECT disorder('LIMIT 10 OFFSET %s', 631, 1) AS between_pages, disorder('LIMIT 10 OFFSET %s', 620, 10) AS pages;
SELECT disorder('LIMIT 10 OFFSET %s FOR UPDATE SKIP LOCKED', 631, 1) AS locked;
DROP FUNCTION disorder;

DROP TABLE grouped;

DROP FUNCTION wrong_pages, prepared_pages;
DROP TABLE centres, pages, parts;
