-- Text input, text output, type modifiers, binary form.
SELECT '[1,2,3]'::vector;
SELECT '[-1,-2,-3]'::vector;
SELECT '[1.,2.,3.]'::vector;
SELECT '[.1,+.2,-.3]'::vector;
SELECT ' [ 1,  2 ,    3  ] '::vector;
SELECT E'\t\n\r\x0b\f[ \t1\n,\r2\x0b]\f'::vector;
SELECT '[1.23456]'::vector;
SELECT '[00012,0e99999999999999999999,-0]'::vector;
SELECT '[0x1p3,0X1.8p-1,0x10,-0x.8,0x1p-149,0x1p-150]'::vector;

-- Output is the shortest decimal number, printed like a real
SELECT '[100000,999999,999999.9,1000000,1234567,16777216,123456789]'::vector;
SELECT '[0.1,0.01,0.001,0.0001,0.00001,0.00012345679,0.000012345679]'::vector;
SELECT '[1e10,1e20,1e-20,123456.789,3.4028235e38,1.1754944e-38,1e-45]'::vector;
SELECT '[27.6640625,8.5899346e9,1.0737418e9,2.1474836e9,33554432,67108864,9007199254740992]'::vector;
SELECT '[5.764607523034235e17,1.152921504606847e18,2.305843009213694e18,9.223372036854776e18]'::vector;
SELECT '[16777217,16777219,16777217.0000000000000000000001,0.30000001192092896]'::vector;

-- Small values underflow to zero; large ones are an error
SELECT '[1e-46,-1e-46,1e-400]'::vector;
SELECT '[4e38,1]'::vector;
SELECT '[1,-4e38]'::vector;
SELECT '[1e400]'::vector;
SELECT '[0x1p128]'::vector;

-- NaN and infinities
SELECT '[NaN,1]'::vector;
SELECT '[nan(1)]'::vector;
SELECT '[Infinity,1]'::vector;
SELECT '[-inf,1]'::vector;

-- Syntax
SELECT '[hello,1]'::vector;
SELECT '[1.5e38,-1.5e38]'::vector;
SELECT '[1,2,3'::vector;
SELECT '[1,2,3]9'::vector;
SELECT '[1,2,3]]'::vector;
SELECT '1,2,3'::vector;
SELECT '{1,2,3}'::vector;
SELECT ''::vector;
SELECT '['::vector;
SELECT '[ '::vector;
SELECT '[,'::vector;
SELECT '[]'::vector;
SELECT '[ ]'::vector;
SELECT '[,]'::vector;
SELECT '[1,]'::vector;
SELECT '[1a]'::vector;
SELECT '[1,,3]'::vector;
SELECT '[1, ,3]'::vector;
SELECT '[1 2]'::vector;
SELECT '[1e]'::vector;
SELECT '[- 1]'::vector;
SELECT '[0x]'::vector;

-- Dimensions
SELECT vector_dims(('[' || repeat('0,', 15999) || '1]')::vector);
SELECT vector_dims(('[' || repeat('0,', 16000) || '1]')::vector);
SELECT '[1,2,3]'::vector(3);
SELECT '[1,2,3]'::vector(2);
SELECT '[1,2,3]'::vector(3, 2);
SELECT '[1,2,3]'::vector('a');
SELECT '[1,2,3]'::vector(0);
SELECT '[1,2,3]'::vector(-1);
SELECT '[1,2,3]'::vector(16000);
SELECT '[1,2,3]'::vector(16001);
SELECT unnest('{"[1,2,3]","[4,5,6]"}'::vector[]);
SELECT '{"[1,2,3]"}'::vector(2)[];

-- Columns
CREATE TABLE t (v vector(3), w vector);
INSERT INTO t VALUES ('[1,2,3]', '[1]'), (NULL, '[1,2]');
INSERT INTO t VALUES ('[1,2]', NULL);
INSERT INTO t (v) SELECT '[1,2]'::vector;
SELECT * FROM t;
SELECT format_type(atttypid, atttypmod), attstorage FROM pg_attribute
	WHERE attrelid = 't'::regclass AND attnum > 0 ORDER BY attnum;
SELECT typlen, typbyval, typcategory, typdelim, typalign, typstorage FROM pg_type WHERE typname = 'vector';
COPY t TO STDOUT;
COPY t FROM STDIN;
[4,5,6]	[7]
\.
COPY t FROM STDIN;
[4,5]	[7]
\.
SELECT * FROM t;
-- 1-byte headers up to 30 dimensions; out of line, never compressed
CREATE TABLE s (v vector);
INSERT INTO s SELECT ('[' || repeat('1,', n - 1) || '1]')::vector FROM unnest(ARRAY[1, 30, 31, 2000]) n;
SELECT vector_dims(v), pg_column_size(v), v = ('[' || repeat('1,', vector_dims(v) - 1) || '1]')::vector AS same
	FROM s ORDER BY 1;

-- Binary form
SELECT vector_send('[1,2.5]');
SELECT vector_send('[-0,3.4028235e38]');
CREATE TABLE b (v vector(2));
INSERT INTO b VALUES ('[1,2.5]'), ('[-0,1e-45]');
\getenv abs_builddir PG_ABS_BUILDDIR
\set file :abs_builddir '/results/vector_type.bin'
COPY b TO :'file' (FORMAT binary);
COPY b FROM :'file' (FORMAT binary);
SELECT * FROM b;
CREATE TABLE b3 (v vector(3));
COPY b3 FROM :'file' (FORMAT binary);

DROP TABLE t, s, b, b3;
