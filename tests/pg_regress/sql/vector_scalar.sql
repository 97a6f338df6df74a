-- Vectors and numbers, late interaction.
SELECT '[1,2,3]'::vector * 2, 2 * '[1,2,3]'::vector, '[1,2,3]'::vector / 2, '[1,2,3]'::vector * 0.5, 0.5::real * '[1,2,3]'::vector;
SELECT '[1,2,3]'::halfvec * 2, 2 * '[1,2,3]'::halfvec, '[1,2,3]'::halfvec / 2, '[1,2,3]'::halfvec * 0.5, -1::real * '[1,2,3]'::halfvec;
-- As before: an untyped literal is a vector
SELECT '[1,2,3]'::vector * '[1,2,3]', '[1,2]' * '[3,4]'::halfvec, '[1,2]'::vector * NULL;
SELECT '[1,0,-3]'::vector * 0, '[1,0,-3]'::halfvec * 0;
SELECT pg_typeof('[1]'::vector * 2), pg_typeof('[1]'::halfvec / 2);
SELECT avg(v * weight) AS weighted FROM (VALUES ('[1,2]'::vector, 2::real), ('[3,4]', 4)) x(v, weight);
SELECT '[1]'::vector / 0;
SELECT '[1]'::halfvec / 0;
SELECT '[1]'::vector * 'NaN'::real;
SELECT '[1]'::halfvec * 'Infinity'::real;
SELECT '[1]'::vector / '-Infinity'::real;
SELECT '[1e38]'::vector * 10;
SELECT '[1e38]'::vector / 0.1::real;
SELECT '[1e-38]'::vector * 1e-10::real;
SELECT '[60000]'::halfvec * 2;
SELECT '[1e-4]'::halfvec / 10000;
SELECT '[1]'::vector * 'x';

-- The row first, the query second
SELECT maxsim(ARRAY['[1,0]', '[0,1]']::vector[], ARRAY['[3,4]', '[1,1]', '[-2,-1]']::vector[]) AS vectors,
	maxsim(ARRAY['[1,0]', '[0,1]']::halfvec[], ARRAY['[3,4]', '[1,1]', '[-2,-1]']::halfvec[]) AS halves,
	ARRAY['[1,0]', '[0,1]']::vector[] @# ARRAY['[3,4]']::vector[] AS operator,
	ARRAY['[1,0]', '[0,1]']::halfvec[] @# ARRAY['[3,4]']::halfvec[] AS of_halves;
SELECT '{}'::vector[] @# ARRAY['[3,4]']::vector[] AS empty_row, ARRAY['[3,4]']::vector[] @# '{}' AS empty_query, '{}'::vector[] @# '{}' AS empty, NULL @# '{}'::vector[] AS null;
CREATE TABLE texts (id int, tokens vector[]);
INSERT INTO texts SELECT i, (SELECT array_agg(array(SELECT sin(i * 3 + j * k) FROM generate_series(1, 40) k)::vector) FROM generate_series(1, 1 + i % 20) j) FROM generate_series(1, 300) i;
INSERT INTO texts VALUES (1001, '{}'), (1002, NULL);
-- Beside its definition
SELECT count(*), max(abs(maxsim(tokens, query) - (SELECT sum(best) FROM (SELECT max(-(t <#> q)) AS best FROM unnest(query) WITH ORDINALITY AS u(q, n), unnest(tokens) t GROUP BY n) x))) < 1e-3 AS same
	FROM texts, (SELECT tokens FROM texts WHERE id = 77) y(query) WHERE cardinality(tokens) > 0;
SELECT id FROM texts ORDER BY tokens @# (SELECT tokens FROM texts WHERE id = 77) LIMIT 1;
SELECT (SELECT array_agg(id) FROM (SELECT id FROM texts ORDER BY tokens @# query, id LIMIT 20) x)
	= (SELECT array_agg(id) FROM (SELECT id FROM texts ORDER BY maxsim(tokens, query) DESC NULLS LAST, id LIMIT 20) x) AS same
	FROM (SELECT tokens FROM texts WHERE id = 7) y(query);
SELECT maxsim(ARRAY['[1,0]', NULL]::vector[], ARRAY['[3,4]']::vector[]);
SELECT maxsim(ARRAY[ARRAY['[1,0]'], ARRAY['[1,0]']]::vector[], ARRAY['[3,4]']::vector[]);
SELECT maxsim(ARRAY['[1,0]']::vector[], ARRAY['[3,4,5]']::vector[]);
SELECT maxsim(ARRAY['[1,0]', '[1]']::halfvec[], '{}');
DROP TABLE texts;
-- A product that is no number is passed over. Where products are added without rounding, it is infinite.
SELECT maxsim(ARRAY['[1,0]', '[3e38,-3e38]', '[0,0]']::vector[], ARRAY['[3e38,3e38]']::vector[])
    IN (3e38::real, 'Infinity') AS passed_over;
