-- Measuring recall, and calibrating again.
CREATE TABLE points (id int PRIMARY KEY, e vector(8));
SELECT setseed(.5);
INSERT INTO points
SELECT i, array_agg(random() + (i * d * 7919) % 40 / 20.0)
FROM generate_series(1, 12000) i, generate_series(1, 8) d GROUP BY i;
INSERT INTO points VALUES (0, NULL), (-1, '[0,0,0,0,0,0,0,0]');
CREATE INDEX points_l2 ON points USING ivf (e);
CREATE INDEX points_cosine ON points USING ivf (e vector_cosine_ops);
CREATE INDEX points_part ON points USING ivf ((e::vector(8)) vector_ip_ops) WHERE id <= 100;

SELECT index, (r ->> 'queries')::int > 90 AS queries, (r ->> 'recall')::float >= .9 AS recall, (r ->> 'codes')::float > 0 AS codes
FROM unnest('{points_l2,points_cosine}'::regclass[]) index, ivf_recall(index) r;
-- Only rows of the index are sampled.
SELECT r -> 'queries' AS queries, r -> 'k' AS k, r -> 'recall' AS recall FROM ivf_recall('points_part', 200, 5) r;
SET ivf.recall_target = 1;
SELECT r -> 'recall' AS recall, r -> 'worst' AS worst, r -> 'poor_queries' AS poor FROM ivf_recall('points_l2', 20, 100) r;
RESET ivf.recall_target;
SET ivf.probes = 1;
SELECT r -> 'lists' AS lists FROM ivf_recall('points_cosine', 50, 3) r;
-- The row that is the query does not count for k, so no second round is needed.
CREATE TABLE recall_strings (b bit(64));
INSERT INTO recall_strings SELECT ('x' || substr(md5(i::text), 1, 16))::bit(64) FROM generate_series(1, 12000) i;
CREATE INDEX recall_strings_b ON recall_strings USING ivf (b bit_hamming_ops);
SELECT r -> 'lists' AS lists FROM ivf_recall('recall_strings_b', 50) r;
RESET ivf.probes;
SELECT ivf_recall('points_l2', 0);
SELECT ivf_recall('points_l2', 10, 1001);
CREATE INDEX ON points USING ivf (e) WITH (recall_target = 0.3);
SELECT ivf_recall('points_pkey');
SET maintenance_work_mem = '1MB';
SELECT ivf_recall('points_l2', 10000, 1000);
RESET maintenance_work_mem;

-- Fewer rows than asked, and none
CREATE TABLE few (e vector(2));
CREATE INDEX few_e ON few USING ivf (e);
SELECT ivf_recall('few_e') - 'median_ms' AS none;
INSERT INTO few VALUES ('[1,2]'), ('[1,2]'), ('[3,4]');
SELECT ivf_recall('few_e') - 'median_ms' AS few;

-- Calibration
SELECT r -> 'queries' AS queries, jsonb_array_length(r -> 'calibration') AS targets FROM ivf_recalibrate('points_l2') r;
SELECT ivf_recalibrate('points_l2') -> 'calibration' = ivf_index_info('points_l2') -> 'calibration' AS stored;
SELECT r -> 'queries' AS queries, jsonb_array_length(r -> 'calibration') AS targets
FROM ivf_recalibrate('points_cosine', (SELECT array_agg(e) FROM points WHERE id BETWEEN 1 AND 400)) r;
SELECT (ivf_recall('points_cosine') ->> 'recall')::float >= .9 AS recall;
SELECT ivf_check('points_l2', true) -> 'live' AS live;
SELECT ivf_recalibrate('few_e');
SELECT ivf_recalibrate('points_l2', array['[1,2,3]'::vector]);
SELECT ivf_recalibrate('points_l2', array['[1,2,3,4,5,6,7,8]'::vector]);
SELECT ivf_recalibrate('points_l2', array[NULL::vector]);
SELECT ivf_recalibrate('points_pkey');
SELECT ivf_recalibrate('points'::regclass);

-- Who may call these functions
CREATE ROLE reader;
SET ROLE reader;
SELECT ivf_recall('points_l2');
SELECT ivf_recalibrate('points_l2');
RESET ROLE;
GRANT SELECT ON points TO reader;
ALTER TABLE points ENABLE ROW LEVEL SECURITY;
SET ROLE reader;
SELECT ivf_recall('points_l2');
RESET ROLE;
ALTER TABLE points DISABLE ROW LEVEL SECURITY;
SET ROLE reader;
SELECT (ivf_recall('points_l2') ->> 'recall')::float >= .9 AS recall;
RESET ROLE;
DROP TABLE points, few;
DROP ROLE reader;
