-- SQLSTATEs, and the binary form's errors
CREATE FUNCTION state(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	RETURN sqlstate || ' ' || sqlerrm;
END
$$;
SELECT state($$SELECT '1'::vector$$);
SELECT state($$SELECT '[4e38]'::vector$$);
SELECT state($$SELECT '[nan]'::vector$$);
SELECT state($$SELECT '[inf]'::vector$$);
SELECT state($$SELECT '[]'::vector$$);
SELECT state($$SELECT ('[' || repeat('0,', 16000) || '1]')::vector$$);
SELECT state($$SELECT '[1,2]'::vector(3)$$);
SELECT state($$SELECT '[1,2]'::vector(3, 4)$$);
SELECT state($$SELECT '[1,2]'::vector(0)$$);
SELECT state($$SELECT '[1,2]'::vector(16001)$$);
SELECT state($$SELECT '[1,2]'::vector + '[1]'$$);
SELECT state($$SELECT '[3e38]'::vector + '[3e38]'$$);
SELECT state($$SELECT '[1e-38]'::vector * '[1e-38]'$$);
SELECT state($$SELECT '[1,2]'::vector <-> '[1]'$$);
SELECT state($$SELECT array_fill(0, ARRAY[16000])::vector || '[1]'$$);
SELECT state($$SELECT subvector('[1]'::vector, 2, 1)$$);
SELECT state($$SELECT '{{1}}'::real[]::vector$$);
SELECT state($$SELECT '{NULL}'::real[]::vector$$);
SELECT state($$SELECT '{1e39}'::numeric[]::vector$$);
SELECT state($$SELECT vector_accum('{}', '[1]')$$);
SELECT state($$SELECT vector_accum('{1,2}', '[1,2]')$$);
SELECT state($$SELECT vector_combine('{}', '{0}')$$);
SELECT state($$SELECT vector_avg('{1}')$$);
SELECT state($$SELECT vector_avg('{1,1e300}')$$);

-- A binary message, received as COPY does
\getenv abs_builddir PG_ABS_BUILDDIR
\set file :abs_builddir '/results/vector_errors.bin'
CREATE TABLE r (v vector);
CREATE TABLE r3 (v vector(3));
CREATE FUNCTION receive(message bytea, file text, "table" regclass DEFAULT 'r') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	object oid;
	result text;
BEGIN
	object := lo_from_bytea(0, '\x5047434f50590aff0d0a0000000000000000000001'::bytea
		|| int4send(length(message)) || message || '\xffff');
	PERFORM lo_export(object, file);
	PERFORM lo_unlink(object);
	EXECUTE format('COPY %s FROM %L (FORMAT binary)', "table", file);
	EXECUTE format('DELETE FROM %s RETURNING v', "table") INTO result;
	RETURN result;
EXCEPTION WHEN OTHERS THEN
	RETURN sqlstate || ' ' || sqlerrm;
END
$$;
SELECT receive('\x000200003f80000040200000', :'file');
SELECT receive('\x000200003f80000040200000', :'file', 'r3');
SELECT receive('\x000300003f8000004020000080000000', :'file', 'r3');
SELECT receive('\x00000000', :'file');
SELECT receive('\x3e810000', :'file');
SELECT receive('\xffff0000', :'file');
SELECT receive('\x000100013f800000', :'file');
SELECT receive('\x0001ffff3f800000', :'file');
SELECT receive('\x000100007fc00000', :'file');
SELECT receive('\x000100007f800000', :'file');
SELECT receive('\x00010000ff800000', :'file');
SELECT receive('\x000200003f800000', :'file');
SELECT receive('\x00', :'file');
SELECT receive('\x0001', :'file');
SELECT receive('\x000100003f80000000', :'file');
DROP FUNCTION state, receive;
DROP TABLE r, r3;
