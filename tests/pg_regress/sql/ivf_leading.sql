-- One-bit codes of the leading dimensions: option code_dimensions
SET enable_seqscan = off;
CREATE TABLE led (id int PRIMARY KEY, e vector(128), label int);
-- Rows near a space of sixteen dimensions
INSERT INTO led
SELECT n, array_agg(sin(n * (d % 16 + 1)) + .1 * sin(n * 7 + d * 3) ORDER BY d)::vector, n % 5
FROM generate_series(1, 2000) n, generate_series(1, 128) d GROUP BY n;
CREATE INDEX led_index ON led USING ivf (e, label) WITH (lists = 6, code_dimensions = 64);
SELECT i->'code_dimensions' AS code_dimensions, i->'dimensions' AS dimensions, i->'version' AS version
FROM ivf_index_info('led_index') i;
SELECT ivf_check('led_index', true) IS NOT NULL AS checked;

-- The same rows as a sequential scan, by all ways of asking
CREATE FUNCTION same(query text) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE by_index text; by_scan text;
BEGIN
  EXECUTE format('SELECT string_agg(r::text, '','') FROM (%s) r', query) INTO by_index;
  PERFORM set_config('enable_seqscan', 'on', true), set_config('enable_indexscan', 'off', true),
          set_config('enable_bitmapscan', 'off', true);
  EXECUTE format('SELECT string_agg(r::text, '','') FROM (%s) r', query) INTO by_scan;
  PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_indexscan', 'on', true),
          set_config('enable_bitmapscan', 'on', true);
  RETURN by_index = by_scan;
END $$;
SET ivf.recall_target = 1;
SELECT q, same(format('SELECT id FROM led ORDER BY e <-> (SELECT e FROM led WHERE id = %s), id LIMIT 20', q)),
       same(format('SELECT id FROM led WHERE label = 3 ORDER BY e <-> (SELECT e FROM led WHERE id = %s), id LIMIT 20', q)),
       same(format('SELECT id FROM led WHERE e <-> (SELECT e FROM led WHERE id = %s) < 4 ORDER BY id', q))
FROM (VALUES (1), (77), (1234)) v (q);

-- It goes on after inserts, deletes and a renewal
INSERT INTO led SELECT id + 2000, e, label FROM led WHERE id % 3 = 0;
DELETE FROM led WHERE id % 7 = 0;
VACUUM led;
SELECT ivf_maintain('led_index') IS NOT NULL AS maintained;
SELECT ivf_index_info('led_index')->'code_dimensions' AS code_dimensions;
SELECT q, same(format('SELECT id FROM led ORDER BY e <-> (SELECT e FROM led WHERE id = %s), id LIMIT 20', q))
FROM (VALUES (1), (78), (1234)) v (q);
SELECT ivf_check('led_index', true) IS NOT NULL AS checked;

-- What the option cannot be
CREATE INDEX ON led USING ivf (e) WITH (bits = 1, code_dimensions = 64);
CREATE INDEX ON led USING ivf ((binary_quantize(e)::bit(128)) bit_hamming_ops) WITH (code_dimensions = 64);
CREATE INDEX ON led USING ivf (e) WITH (code_dimensions = -1);
CREATE TABLE wide AS SELECT n AS id, array_agg(sin(n * d))::vector AS e
FROM generate_series(1, 40) n, generate_series(1, 4096) d GROUP BY n;
CREATE INDEX ON wide USING ivf (e) WITH (lists = 2, code_dimensions = 2048);
DROP TABLE wide;
DROP FUNCTION same;
DROP TABLE led;
