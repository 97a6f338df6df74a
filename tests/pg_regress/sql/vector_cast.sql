-- From arrays
SELECT ARRAY[1,2,3]::vector;
SELECT ARRAY[1.0,2.0,3.0]::vector;
SELECT ARRAY[1,2,3]::float4[]::vector;
SELECT ARRAY[1,2,3]::float8[]::vector;
SELECT ARRAY[1,2,3]::numeric[]::vector;
SELECT ARRAY[2147483647,-2147483648,16777217]::vector;
SELECT ARRAY[0.1,1e-50]::float8[]::vector;
SELECT '{NULL}'::real[]::vector;
SELECT '{1,NULL}'::numeric[]::vector;
SELECT '{NaN}'::real[]::vector;
SELECT '{Infinity}'::real[]::vector;
SELECT '{-Infinity}'::real[]::vector;
SELECT '{1e39}'::float8[]::vector;
SELECT '{1e39}'::numeric[]::vector;
SELECT '{NaN}'::numeric[]::vector;
SELECT '{}'::real[]::vector;
SELECT '{}'::numeric[]::vector;
SELECT '{{1}}'::real[]::vector;
SELECT '[5:7]={1,2,3}'::real[]::vector;
SELECT (ARRAY[1,NULL,3]::real[])[3:3]::vector;
SELECT ARRAY[1,2,3]::vector(3);
SELECT ARRAY[1,2,3]::vector(2);
SELECT ARRAY[1,2,3]::float8[]::vector(2);
SELECT vector_dims(array_fill(0, ARRAY[16000])::vector);
SELECT array_fill(0, ARRAY[16001])::vector;
SELECT ARRAY[1,2,3]::bigint[]::vector;
SELECT array_to_vector(ARRAY[1,2,3], 3, true);

-- To arrays
SELECT '[1,2,3]'::vector::real[];
SELECT '[1.5,-0]'::vector::float4[];
SELECT array_length('[1,2,3]'::vector::real[], 1);
SELECT array_agg(x) FROM unnest('[1,2,3]'::vector::real[]) x;
SELECT '[1,2,3]'::vector::float8[];
SELECT array_append('[1,2]'::vector::real[], 3);

-- Between lengths
SELECT '[1,2,3]'::vector::vector(3);
SELECT '[1,2,3]'::vector::vector(2);
SELECT vector('[1,2,3]'::vector, 2, true);

-- Text
SELECT '[1,2,3]'::text::vector;
SELECT '[1,2,3]'::vector::text;
SELECT '[1,2,3]'::vector::varchar;

-- Contexts
CREATE TABLE t (v vector(3));
INSERT INTO t VALUES (ARRAY[1,2,3]), (ARRAY[1.5,2,3]), (ARRAY[1,2,3]::float8[]);
INSERT INTO t VALUES (ARRAY[1,2]);
INSERT INTO t VALUES (ARRAY[1,2,3]::bigint[]);
INSERT INTO t VALUES ('[1,2,3]'::text);
SELECT * FROM t;
-- The hint differs between majors
\set VERBOSITY terse
SELECT * FROM t WHERE v = ARRAY[1,2,3];
\set VERBOSITY default
SELECT ARRAY[1,2,3] = ARRAY[1,2,3];
SELECT castsource::regtype, casttarget::regtype, castcontext, castmethod FROM pg_cast
	WHERE castfunc IN (SELECT oid FROM pg_proc WHERE proname IN ('vector', 'array_to_vector', 'vector_to_float4'))
	ORDER BY 1, 2;
DROP TABLE t;
