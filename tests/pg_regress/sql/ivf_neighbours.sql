-- The nearest rows of many queries at once: as queries one by one find them.
CREATE TABLE near (id int PRIMARY KEY, e vector(8), h halfvec(8), b bit(64));
INSERT INTO near
SELECT i, e::real[]::vector, e::real[]::halfvec, ('x' || substr(md5(i::text), 1, 16))::bit(64)
FROM (SELECT i, array_agg((abs(hashint4(i * 8 + d) % 1000) / 1000.0 + (i * d * 7919) % 40 / 20.0)::real ORDER BY d) e
      FROM generate_series(1, 4000) i, generate_series(1, 8) d GROUP BY i) x;
INSERT INTO near VALUES (0), (-1, '[0,0,0,0,0,0,0,0]', '[0,0,0,0,0,0,0,0]', b'0'::bit(64));
CREATE INDEX near_l2 ON near USING ivf (e) WITH (lists = 20);
CREATE INDEX near_cosine ON near USING ivf (e vector_cosine_ops) WITH (lists = 20);
CREATE INDEX near_ip ON near USING ivf (e vector_ip_ops) WITH (lists = 20, bits = 8);
CREATE INDEX near_l1 ON near USING ivf (e vector_l1_ops) WITH (lists = 20, bits = 1);
CREATE INDEX near_half ON near USING ivf (h halfvec_cosine_ops) WITH (lists = 20);
CREATE INDEX near_half_l1 ON near USING ivf (h halfvec_l1_ops) WITH (lists = 20);
CREATE INDEX near_hamming ON near USING ivf (b bit_hamming_ops) WITH (lists = 20);
CREATE INDEX near_jaccard ON near USING ivf (b bit_jaccard_ops) WITH (lists = 20);
CREATE INDEX near_part ON near USING ivf ((e::vector(8))) WITH (lists = 7) WHERE id % 3 = 0;

CREATE TABLE asked AS
SELECT 1 + row_number() OVER (ORDER BY id) % 100 AS query, e, h, b FROM near WHERE id BETWEEN 1 AND 4000 AND id % 40 = 7;
ALTER TABLE asked ADD PRIMARY KEY (query);

-- Rows that differ from those of a sequential scan, over all queries
CREATE FUNCTION differences(index regclass, operator text, type text, k int, condition text DEFAULT 'true') RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE n bigint; col text := CASE type WHEN 'vector' THEN 'e' WHEN 'halfvec' THEN 'h' ELSE 'b' END;
BEGIN
    SET LOCAL enable_indexscan = off;
    EXECUTE format('
        WITH found AS (SELECT query, distance, row_number() OVER (PARTITION BY query ORDER BY number) place, id
             FROM ivf_neighbours($1, (SELECT array_agg(%1$s ORDER BY query) FROM asked), $2) WITH ORDINALITY
                  f (query, neighbour, distance, number) JOIN near ON near.ctid = neighbour AND near.%1$s %2$s (SELECT a.%1$s FROM asked a WHERE a.query = f.query) = distance),
        truth AS (SELECT query, x.* FROM asked, LATERAL (SELECT near.%1$s %2$s asked.%1$s AS distance,
             row_number() OVER (ORDER BY near.%1$s %2$s asked.%1$s) place FROM near WHERE %3$s ORDER BY 1 LIMIT $2) x)
        SELECT count(*) FROM found FULL JOIN truth USING (query, place, distance) WHERE found.query IS NULL OR truth.query IS NULL',
        col, operator, condition) INTO n USING index, k;
    RETURN n;
END $$;
SET ivf.recall_target = 1;
SELECT differences('near_l2', '<->', 'vector', 10) AS l2, differences('near_cosine', '<=>', 'vector', 3, 'id <> -1') AS cosine,
    differences('near_ip', '<#>', 'vector', 10) AS ip, differences('near_l1', '<+>', 'vector', 5) AS l1,
    differences('near_half', '<=>', 'halfvec', 10, 'id <> -1') AS half, differences('near_half_l1', '<+>', 'halfvec', 10) AS half_l1,
    differences('near_hamming', '<~>', 'bit', 10) AS hamming, differences('near_jaccard', '<%>', 'bit', 10) AS jaccard,
    differences('near_part', '<->', 'vector', 10, 'id % 3 = 0') AS part;

-- Rows that are deleted, updated (also to other places of the page) and inserted
DELETE FROM near WHERE id % 5 = 0;
UPDATE near SET id = id + 100000 WHERE id % 7 = 0;
UPDATE near SET e = e * 1.5::real WHERE id % 11 = 0;
BEGIN;
DELETE FROM near WHERE id % 2 = 0;
SELECT differences('near_l2', '<->', 'vector', 10) AS l2, differences('near_hamming', '<~>', 'bit', 10) AS hamming;
ROLLBACK;
SELECT differences('near_l2', '<->', 'vector', 10) AS l2, differences('near_hamming', '<~>', 'bit', 10) AS hamming;
VACUUM near;
SELECT differences('near_l2', '<->', 'vector', 10) AS l2, differences('near_hamming', '<~>', 'bit', 10) AS hamming;

-- Small batches find the same, in the order of the array and of the distance.
SET maintenance_work_mem = '1MB';
SELECT differences('near_l2', '<->', 'vector', 10) AS l2, differences('near_part', '<->', 'vector', 500, 'id % 3 = 0') AS part;
RESET maintenance_work_mem;
RESET ivf.recall_target;
SELECT count(*), count(DISTINCT query) AS queries, bool_and(sorted) AS sorted
FROM (SELECT query, (query, distance) >= (lag(query, 1, 0) OVER w, lag(distance, 1, '-infinity') OVER w) AS sorted
      FROM ivf_neighbours('near_l2', (SELECT array_agg(e ORDER BY query) FROM asked)) WITH ORDINALITY f (query, neighbour, distance, number)
      WINDOW w AS (ORDER BY number)) x;
-- The recall is that of scans.
SELECT count(*) FILTER (WHERE distance <= farthest) / 1000.0 >= .9 AS recall
FROM ivf_neighbours('near_l2', (SELECT array_agg(e ORDER BY query) FROM asked)) f
JOIN (SELECT query, (SELECT distance FROM (SELECT near.e <-> asked.e AS distance FROM near ORDER BY 1 LIMIT 10) x ORDER BY 1 DESC LIMIT 1) farthest
      FROM asked) truth USING (query);
SELECT (ivf_last_scan() ->> 'codes')::int > 0 AS codes;

-- A join with the table
SET ivf.recall_target = 1;
SELECT query, id, round(distance::numeric, 4) AS distance
FROM ivf_neighbours('near_l2', ARRAY['[1,1,1,1,1,1,1,1]', NULL, '[2,2,2,2,1,1,1,1]']::vector[], 2) JOIN near ON near.ctid = neighbour ORDER BY query, distance;
RESET ivf.recall_target;

-- All pairs of near rows
CREATE TABLE pairs AS SELECT * FROM ivf_neighbour_graph('near_part', 3);
SELECT count(DISTINCT item) = (SELECT count(e) FROM near WHERE id % 3 = 0) AS items, count(*) = 3 * count(DISTINCT item) AS three,
    bool_or(item = neighbour) AS itself FROM pairs;
SET ivf.recall_target = 1;
SET enable_indexscan = off;
CREATE TABLE exact_pairs AS SELECT item, array_agg(distance ORDER BY distance) AS found FROM ivf_neighbour_graph('near_part', 3) GROUP BY item;
SELECT count(*), count(*) FILTER (WHERE truth IS DISTINCT FROM found) AS wrong
FROM (SELECT id, e, ctid AS item FROM near WHERE id % 3 = 0 AND e IS NOT NULL ORDER BY id LIMIT 100) a
CROSS JOIN LATERAL (SELECT array_agg(distance ORDER BY distance) truth
             FROM (SELECT a.e <-> b.e AS distance FROM near b WHERE b.id % 3 = 0 AND b.id <> a.id ORDER BY 1 LIMIT 3) x) t
LEFT JOIN exact_pairs USING (item);
RESET enable_indexscan;
RESET ivf.recall_target;

-- What has no neighbours: NULL, and a zero vector under cosine
SELECT query, count(*) FROM ivf_neighbours('near_cosine', ARRAY[NULL, '[0,0,0,0,0,0,0,0]', '[1,1,1,1,1,1,1,1]']::vector[]) GROUP BY 1;
SELECT * FROM ivf_neighbours('near_l2', '{}'::vector[]);
SELECT * FROM ivf_neighbours('near_l2', NULL::vector[]);
CREATE TABLE few (e vector(2));
CREATE INDEX few_e ON few USING ivf (e);
SELECT * FROM ivf_neighbours('few_e', ARRAY['[1,2]']::vector[]);
SELECT * FROM ivf_neighbour_graph('few_e');
INSERT INTO few VALUES ('[1,2]'), ('[1,2]'), ('[3,4]'), (NULL);
SELECT * FROM ivf_neighbours('few_e', ARRAY[['[1,2]'], ['[3,3]']]::vector[]);
SELECT * FROM ivf_neighbour_graph('few_e', 10000) ORDER BY 1, 2;

-- Errors
SELECT * FROM ivf_neighbours('near_l2', ARRAY['[1,2]']::vector[]);
SELECT * FROM ivf_neighbours('near_l2', ARRAY['[1,1,1,1,1,1,1,1]']::vector[], 0);
SELECT * FROM ivf_neighbours('near_l2', ARRAY['[1,1,1,1,1,1,1,1]']::vector[], 10001);
SELECT * FROM ivf_neighbour_graph('near_l2', -1);
SELECT * FROM ivf_neighbours('near_half', ARRAY['[1,1,1,1,1,1,1,1]']::vector[]);
SELECT * FROM ivf_neighbours('near_hamming', ARRAY['[1,1,1,1,1,1,1,1]']::halfvec[]);
SELECT * FROM ivf_neighbours('near_l2', ARRAY[b'1']);
SELECT * FROM ivf_neighbours('near_hamming', ARRAY[b'101']);
SELECT * FROM ivf_neighbours('near_pkey', ARRAY['[1,2]']::vector[]);
SELECT * FROM ivf_neighbour_graph('near');
CREATE TABLE parted (e vector(2)) PARTITION BY RANGE ((e <-> '[0,0]'));
CREATE INDEX parted_e ON parted USING ivf (e);
SELECT * FROM ivf_neighbours('parted_e', ARRAY['[1,2]']::vector[]);

-- Who may call these functions
CREATE ROLE reader;
SET ROLE reader;
SELECT * FROM ivf_neighbours('near_l2', ARRAY['[1,1,1,1,1,1,1,1]']::vector[]);
SELECT * FROM ivf_neighbour_graph('near_l2');
RESET ROLE;
GRANT SELECT ON near TO reader;
ALTER TABLE near ENABLE ROW LEVEL SECURITY;
SET ROLE reader;
SELECT * FROM ivf_neighbours('near_l2', ARRAY['[1,1,1,1,1,1,1,1]']::vector[]);
RESET ROLE;
ALTER TABLE near DISABLE ROW LEVEL SECURITY;
SET ROLE reader;
SELECT count(*) FROM ivf_neighbours('near_l2', ARRAY['[1,1,1,1,1,1,1,1]']::vector[]);
SELECT (ivf_last_scan() ->> 'lists')::int > 0 AS own_counters;
RESET ROLE;
DROP TABLE near, asked, pairs, exact_pairs, few, parted;
DROP FUNCTION differences;
DROP ROLE reader;
