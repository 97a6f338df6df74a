SELECT avg(v) FROM unnest(ARRAY['[1,2,3]'::vector, '[3,5,7]']) v;
SELECT avg(v) FROM unnest(ARRAY['[1,2,3]'::vector, '[3,5,7]', NULL]) v;
SELECT avg(v) FROM unnest(ARRAY[]::vector[]) v;
SELECT avg(v) FROM unnest(ARRAY[NULL::vector]) v;
SELECT avg(v) FROM unnest(ARRAY['[1,2]'::vector, '[3]']) v;
SELECT avg(v) FROM unnest(ARRAY['[3e38]'::vector, '[3e38]']) v;
SELECT avg(v) FROM unnest(ARRAY['[1]'::vector, '[2]', '[4]']) v;
SELECT avg(v) FILTER (WHERE n > 1), avg(v) FROM (VALUES (1, '[1]'::vector), (2, '[2]')) x (n, v);
SELECT n, avg(v) OVER (ORDER BY n), sum(v) OVER (ORDER BY n ROWS 1 PRECEDING)
	FROM (VALUES (1, '[1,0]'::vector), (2, '[2,0]'), (3, '[6,0]')) x (n, v);
SELECT n % 2 AS k, avg(ARRAY[n, 1]::vector), sum(ARRAY[n, 1]::vector) FROM generate_series(1, 10) n GROUP BY 1 ORDER BY 1;
SELECT vector_avg(array_agg(n)) FROM generate_series(1, 16002) n;

SELECT sum(v) FROM unnest(ARRAY['[1,2,3]'::vector, '[3,5,7]']) v;
SELECT sum(v) FROM unnest(ARRAY['[1,2,3]'::vector, '[3,5,7]', NULL]) v;
SELECT sum(v) FROM unnest(ARRAY[]::vector[]) v;
SELECT sum(v) FROM unnest(ARRAY['[1,2]'::vector, '[3]']) v;
SELECT sum(v) FROM unnest(ARRAY['[3e38]'::vector, '[3e38]']) v;

-- States
SELECT vector_accum('{0}', '[1,2]');
SELECT vector_accum('{1,1,2}', '[1,2]');
SELECT vector_accum('{1,1,2}', '[1]');
SELECT vector_accum('{1,1.7976931348623157e308}', '[3e38]');
SELECT vector_accum('{1,NULL}', '[1]');
SELECT vector_accum('{}', '[1]');
SELECT vector_accum('{{1}}', '[1]');
SELECT vector_combine('{0}', '{1,2}');
SELECT vector_combine('{1,2}', '{0}');
SELECT vector_combine('{1,2}', '{2,4}');
SELECT vector_combine('{1,2}', '{2,4,5}');
SELECT vector_combine('{1,1.7976931348623157e308}', '{1,1.7976931348623157e308}');
SELECT vector_combine('{}', '{1,2}');
SELECT vector_combine('{0}', '{0}');
SELECT vector_combine('{0}', '{1}');
SELECT vector_combine('{1}', '{2}');
SELECT vector_combine('{0,5}', '{2,1,1}');
SELECT vector_combine('{2,1,1}', '{0,5}');
SELECT vector_combine('{Infinity,1}', '[0:1]={1,2}');
SELECT vector_combine('{1,2}', '{3,NULL}');
SELECT vector_combine('{1,2}', '{{3,4}}');
SELECT vector_combine('{0}', array_agg(n)) FROM generate_series(1, 16002) n;
SELECT vector_combine(array_agg(n), '{0}') FROM generate_series(1, 16002) n;
SELECT vector_combine(array_agg(n), array_agg(n)) FROM generate_series(1, 16002) n;
SELECT vector_accum(array_agg(n), '[1]') FROM generate_series(1, 16002) n;
SELECT vector_accum('[0:2]={1,1,2}', '[1,2]');
SELECT vector_avg('{0}');
SELECT vector_avg('{2,3,7}');
SELECT vector_avg('{1}');
SELECT vector_avg('{1,1e300}');
SELECT vector_avg('{1,NaN}');
SELECT vector_avg('{}');

-- A state with another lower bound is not changed in place
CREATE AGGREGATE state_of(vector) (SFUNC = vector_accum, STYPE = double precision[], INITCOND = '[0:2]={0,0,0}');
SELECT state_of(v) FROM unnest(ARRAY['[1,2]'::vector, '[3,5]']) v;
DROP AGGREGATE state_of(vector);

-- Parallel plans combine states
CREATE TABLE t (v vector(2));
INSERT INTO t SELECT ARRAY[n, -n]::vector FROM generate_series(1, 1000) n;
CREATE TABLE e (v vector(2));
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
EXPLAIN (COSTS OFF) SELECT avg(v), sum(v) FROM t;
SELECT avg(v), sum(v) FROM t;
SELECT avg(v), sum(v) FROM e;
DROP TABLE t, e;
