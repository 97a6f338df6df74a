-- Differences from vector: the range and the rounding of elements. All else is compared with pgvector by
-- tests/server/pgvector.rs.
SELECT '[1,2.5,-0,1.23456,0.8]'::halfvec;
SELECT '[65519]'::halfvec;
SELECT '[65520]'::halfvec;
SELECT '[1e-8]'::halfvec;
SELECT '[nan]'::halfvec;
SELECT '[inf]'::halfvec;
SELECT '[1,2]'::halfvec(3);
SELECT '[1]'::halfvec(16001);
SELECT ARRAY[1, 65520]::halfvec;
SELECT '[65520]'::vector::halfvec;
SELECT '[1,2,3]'::halfvec <-> '[3,2,1]', '[1,2,3]'::halfvec <#> '[3,2,1]', '[1,2]'::halfvec <=> '[2,4]', '[1,2]'::halfvec <+> '[0,0]';
SELECT '[1,2]'::halfvec <-> '[1]';
SELECT '[1,2]'::halfvec + '[3,4]', '[1,2]'::halfvec - '[3,4]', '[1,2]'::halfvec * '[3,4]', '[1,2]'::halfvec || '[3]';
SELECT '[60000]'::halfvec + '[60000]';
SELECT '[1e-7]'::halfvec * '[1e-7]';
SELECT l2_norm('[3,4]'::halfvec), l2_normalize('[3,4]'::halfvec), binary_quantize('[1,-1,0]'::halfvec), subvector('[1,2,3]'::halfvec, 2, 2), vector_dims('[1,2]'::halfvec);
SELECT avg(v), sum(v) FROM (VALUES ('[1,2]'::halfvec), ('[2,4]')) t (v);
SELECT '[1,2]'::halfvec::vector, '[0,2]'::halfvec::sparsevec, '[1,2]'::halfvec::real[];
SELECT encode(halfvec_send('[1,2.5]'), 'hex');
CREATE TABLE t (v halfvec(2));
INSERT INTO t VALUES ('[2,1]'), (ARRAY[1,2]), ('[1,1]'::vector), (NULL);
SELECT v FROM t ORDER BY v;
SELECT pg_column_size(v) FROM t LIMIT 1;
INSERT INTO t VALUES ('[1]');
DROP TABLE t;
