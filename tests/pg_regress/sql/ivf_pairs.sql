-- All pairs of rows that are nearer than a distance: those of a join by a sequential scan.
CREATE TABLE near (id int PRIMARY KEY, e vector(8), h halfvec(8), b bit(64));
INSERT INTO near
SELECT i, e::real[]::vector, e::real[]::halfvec, ('x' || substr(md5(i::text), 1, 16))::bit(64)
FROM (SELECT i, array_agg((abs(hashint4(i * 8 + d) % 1000) / 1000.0 + (i * d * 7919) % 40 / 20.0)::real ORDER BY d) e
      FROM generate_series(1, 1200) i, generate_series(1, 8) d GROUP BY i) x;
INSERT INTO near VALUES (0);
INSERT INTO near VALUES (-1, '[0,0,0,0,0,0,0,0]', '[0,0,0,0,0,0,0,0]', b'0'::bit(64));
INSERT INTO near SELECT -id, e, h, b FROM near WHERE id IN (2, 300, 301, 900);
CREATE INDEX near_l2 ON near USING ivf (e) WITH (lists = 12);
CREATE INDEX near_cosine ON near USING ivf (e vector_cosine_ops) WITH (lists = 12);
CREATE INDEX near_ip ON near USING ivf (e vector_ip_ops) WITH (lists = 12, bits = 8);
CREATE INDEX near_l1 ON near USING ivf (e vector_l1_ops) WITH (lists = 12, bits = 1);
CREATE INDEX near_half ON near USING ivf (h halfvec_cosine_ops) WITH (lists = 12);
CREATE INDEX near_half_l1 ON near USING ivf (h halfvec_l1_ops) WITH (lists = 1);
CREATE INDEX near_hamming ON near USING ivf (b bit_hamming_ops) WITH (lists = 12);
CREATE INDEX near_jaccard ON near USING ivf (b bit_jaccard_ops) WITH (lists = 12);
CREATE INDEX near_part ON near USING ivf ((e::vector(8))) WITH (lists = 7) WHERE id % 3 = 0;

-- How many pairs there are, and how many differ
CREATE FUNCTION compare(index regclass, operator text, col text, below float8, condition text DEFAULT 'true') RETURNS text
LANGUAGE plpgsql AS $$
DECLARE n bigint; differ bigint;
BEGIN
    SET LOCAL enable_indexscan = off;
    EXECUTE format('
        WITH found AS (SELECT a.id AS a, b.id AS b, distance FROM ivf_pairs($1, $2) JOIN near a ON a.ctid = item JOIN near b ON b.ctid = neighbour WHERE item < neighbour),
        truth AS (SELECT a.id AS a, b.id AS b, a.%1$s %2$s b.%1$s AS distance FROM near a JOIN near b
             ON a.ctid < b.ctid AND a.%1$s %2$s b.%1$s < $2 AND %3$s AND %4$s)
        SELECT (SELECT count(*) FROM truth), (SELECT count(*) FROM found FULL JOIN truth USING (a, b, distance) WHERE found.a IS NULL OR truth.a IS NULL)',
        col, operator, replace(condition, 'id', 'a.id'), replace(condition, 'id', 'b.id')) INTO n, differ USING index, below;
    RETURN format('%s: %s pairs, %s differ', index, CASE WHEN n > 0 THEN 'some' ELSE 'no' END, differ);
END $$;
CREATE VIEW compared AS SELECT compare(i::regclass, o, c, below, condition) FROM (VALUES
    ('near_l2', '<->', 'e', .9, 'true'), ('near_l2', '<->', 'e', 0, 'true'), ('near_cosine', '<=>', 'e', .02, 'true'), ('near_ip', '<#>', 'e', -20, 'true'),
    ('near_l1', '<+>', 'e', 2, 'true'), ('near_half', '<=>', 'h', .02, 'true'), ('near_half_l1', '<+>', 'h', 2, 'true'), ('near_hamming', '<~>', 'b', 18, 'true'),
    ('near_jaccard', '<%>', 'b', .5, 'true'), ('near_part', '<->', 'e', 1, 'id % 3 = 0'), ('near_part', '<->', 'e', 'Infinity', 'id % 3 = 0')) v (i, o, c, below, condition);
SELECT * FROM compared;
-- Rows that are deleted, updated (also to other places of the page) and inserted; small batches
DELETE FROM near WHERE id % 5 = 1;
UPDATE near SET id = id + 100000 WHERE id % 7 = 0;
UPDATE near SET e = e * 1.5::real WHERE id % 11 = 0;
SET maintenance_work_mem = '1MB';
SELECT * FROM compared;
VACUUM near;
SET max_parallel_workers_per_gather = 0;
SELECT * FROM compared;
RESET maintenance_work_mem;
RESET max_parallel_workers_per_gather;
SELECT (ivf_last_scan() ->> 'codes')::int > 0 AS codes;

-- Nothing, and errors
SELECT * FROM ivf_pairs('near_l2', NULL);
SELECT * FROM ivf_pairs('near_l2', '-Infinity');
SELECT * FROM ivf_pairs('near_l2', 'NaN');
SELECT * FROM ivf_pairs('near_pkey', 1);
CREATE TABLE few (e vector(2));
CREATE INDEX few_e ON few USING ivf (e);
SELECT * FROM ivf_pairs('few_e', 1);
INSERT INTO few VALUES ('[1,2]'), ('[1,2]'), ('[3,4]'), (NULL);
SELECT * FROM ivf_pairs('few_e', 1);

-- Who may call it
CREATE ROLE reader;
SET ROLE reader;
SELECT * FROM ivf_pairs('near_l2', 1);
RESET ROLE;
GRANT SELECT ON near TO reader;
ALTER TABLE near ENABLE ROW LEVEL SECURITY;
SET ROLE reader;
SELECT * FROM ivf_pairs('near_l2', 1);
RESET ROLE;
ALTER TABLE near DISABLE ROW LEVEL SECURITY;
SET ROLE reader;
SELECT count(*) > 0 AS pairs FROM ivf_pairs('near_l2', .9);
RESET ROLE;
DROP VIEW compared;
DROP TABLE near, few;
DROP FUNCTION compare;
DROP ROLE reader;
