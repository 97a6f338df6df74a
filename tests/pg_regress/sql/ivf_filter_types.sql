-- Filter columns of types for which the server chooses another type's operator class: right results, or refused.
-- A type like citext: it is binary-coercible to text, and has its own operator =.
SET client_min_messages = warning;
CREATE SCHEMA kinds;
SET search_path = kinds, public;
CREATE TYPE folded;
CREATE FUNCTION folded_in(cstring) RETURNS folded LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION folded_out(folded) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE folded (INPUT = folded_in, OUTPUT = folded_out, LIKE = text, COLLATABLE = true);
CREATE CAST (folded AS text) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (text AS folded) WITHOUT FUNCTION AS ASSIGNMENT;
CREATE FUNCTION folded_eq(folded, folded) RETURNS boolean IMMUTABLE STRICT LANGUAGE plpgsql AS 'BEGIN RETURN lower($1::text) = lower($2::text); END';
CREATE FUNCTION folded_hash(folded) RETURNS int IMMUTABLE STRICT LANGUAGE sql AS 'SELECT hashtext(lower($1::text))';
CREATE OPERATOR = (LEFTARG = folded, RIGHTARG = folded, FUNCTION = folded_eq, COMMUTATOR = =, RESTRICT = eqsel, JOIN = eqjoinsel, HASHES);
CREATE OPERATOR CLASS folded_hash_ops DEFAULT FOR TYPE folded USING hash AS OPERATOR 1 =, FUNCTION 1 folded_hash(folded);
CREATE FUNCTION folded_cmp(folded, folded) RETURNS int IMMUTABLE STRICT LANGUAGE sql AS 'SELECT bttextcmp(lower($1::text), lower($2::text))';
CREATE OPERATOR CLASS folded_tree_ops DEFAULT FOR TYPE folded USING btree AS OPERATOR 3 =, FUNCTION 1 folded_cmp(folded, folded);
-- A type without operators, which uses those of text
CREATE TYPE plain;
CREATE FUNCTION plain_in(cstring) RETURNS plain LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION plain_out(plain) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE plain (INPUT = plain_in, OUTPUT = plain_out, LIKE = text, COLLATABLE = true);
CREATE CAST (plain AS text) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (text AS plain) WITHOUT FUNCTION AS ASSIGNMENT;
-- A type of numbers that compares the last digit only
CREATE TYPE digit;
CREATE FUNCTION digit_in(cstring) RETURNS digit LANGUAGE internal IMMUTABLE STRICT AS 'int4in';
CREATE FUNCTION digit_out(digit) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int4out';
CREATE TYPE digit (INPUT = digit_in, OUTPUT = digit_out, LIKE = int4);
CREATE CAST (digit AS int4) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (int4 AS digit) WITHOUT FUNCTION AS ASSIGNMENT;
CREATE FUNCTION digit_eq(digit, digit) RETURNS boolean IMMUTABLE STRICT LANGUAGE plpgsql AS 'BEGIN RETURN $1::int4 % 10 = $2::int4 % 10; END';
CREATE FUNCTION digit_hash(digit) RETURNS int IMMUTABLE STRICT LANGUAGE sql AS 'SELECT $1::int4 % 10';
CREATE OPERATOR = (LEFTARG = digit, RIGHTARG = digit, FUNCTION = digit_eq, COMMUTATOR = =, RESTRICT = eqsel, JOIN = eqjoinsel, HASHES);
CREATE OPERATOR CLASS digit_hash_ops DEFAULT FOR TYPE digit USING hash AS OPERATOR 1 =, FUNCTION 1 digit_hash(digit);
CREATE FUNCTION digit_cmp(digit, digit) RETURNS int IMMUTABLE STRICT LANGUAGE sql AS 'SELECT btint4cmp($1::int4 % 10, $2::int4 % 10)';
CREATE OPERATOR CLASS digit_tree_ops DEFAULT FOR TYPE digit USING btree AS OPERATOR 3 =, FUNCTION 1 digit_cmp(digit, digit);
-- A type whose hash function does not fit its =
CREATE TYPE odd;
CREATE FUNCTION odd_in(cstring) RETURNS odd LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION odd_out(odd) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE odd (INPUT = odd_in, OUTPUT = odd_out, LIKE = text, COLLATABLE = true);
CREATE CAST (odd AS text) WITHOUT FUNCTION AS IMPLICIT;
CREATE FUNCTION odd_eq(odd, odd) RETURNS boolean IMMUTABLE STRICT LANGUAGE plpgsql AS 'BEGIN RETURN lower($1::text) = lower($2::text); END';
CREATE FUNCTION odd_hash(odd) RETURNS int IMMUTABLE STRICT LANGUAGE sql AS 'SELECT hashtext(lower($1::text))';
CREATE OPERATOR = (LEFTARG = odd, RIGHTARG = odd, FUNCTION = odd_eq, COMMUTATOR = =, HASHES);
CREATE OPERATOR CLASS odd_hash_ops DEFAULT FOR TYPE odd USING hash AS OPERATOR 1 =, FUNCTION 1 odd_hash(odd);
CREATE DOMAIN folded_name AS folded;
CREATE DOMAIN short_text AS text CHECK (length(value) < 20);
CREATE TABLE k (id int PRIMARY KEY, f folded, d folded_name, p plain, n digit, s short_text, fs folded[], e vector(3));
INSERT INTO k SELECT i, w, w, w, i % 30, w, ARRAY[w]::folded[], format('[%s,%s,%s]', i, i % 7, i % 5)::vector
    FROM (SELECT i, (ARRAY['Alice', 'ALICE', 'alice', 'Bob', 'BOB'])[1 + i % 5] AS w FROM generate_series(1, 500) i) i;

-- Whether the index answers a condition, and with the same rows as without it
CREATE FUNCTION answered(condition text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE by_index int[]; by_scan int[]; plan text := ''; line text;
    query text := format('SELECT id FROM k WHERE %s ORDER BY e <-> ''[1,2,3]'', id LIMIT 600', condition);
    ordered text := replace(query, ', id LIMIT', ' LIMIT');
BEGIN
    PERFORM set_config('ivf.recall_target', '1', true), set_config('enable_seqscan', 'off', true), set_config('enable_indexscan', 'on', true);
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || ordered LOOP plan := plan || line; END LOOP;
    EXECUTE format('SELECT array_agg(id) FROM (%s) s', ordered) INTO by_index;
    PERFORM set_config('enable_indexscan', 'off', true), set_config('enable_seqscan', 'on', true);
    EXECUTE format('SELECT array_agg(id) FROM (%s) s', query) INTO by_scan;
    RETURN format('%s: %s rows, %s, %s', condition, cardinality(by_scan), CASE WHEN plan ~ 'Index Cond' THEN 'index' WHEN plan ~ 'k_i' THEN 'filter' ELSE 'no index' END,
        CASE WHEN by_index IS NOT DISTINCT FROM by_scan THEN 'same' ELSE 'DIFFERENT' END);
END $$;

-- Types of the server
ALTER TABLE k ADD a inet, ADD ci cidr, ADD iv interval, ADD b bytea, ADD o oid, ADD tz timetz, ADD m macaddr, ADD m8 macaddr8, ADD c money, ADD j jsonb;
UPDATE k SET a = '10.0.0.0'::inet + id % 7, ci = ('10.' || id % 7 || '.0.0/16')::cidr, iv = (id % 7) * interval '1 day', b = int4send(id % 7), o = (4294967290 - id % 7)::oid,
    tz = '00:00+00'::timetz + (id % 7) * interval '1 hour', m = ('00:00:00:00:00:0' || id % 7)::macaddr, m8 = ('00:00:00:00:00:00:00:0' || id % 7)::macaddr8,
    c = (id % 7 - 3)::numeric::money, j = jsonb_build_object('lang', id % 7, 'n', NULL);
UPDATE k SET a = NULL, iv = NULL, c = NULL, j = NULL WHERE id % 50 = 0;
CREATE INDEX k_i ON k USING ivf (e, a, ci, iv, b, o, tz, m, m8, c, j, (j -> 'lang'));
SELECT answered(c) FROM unnest(ARRAY['a = ''10.0.0.3''', 'a = ''10.0.0.3/24''', 'ci = ''10.3.0.0/16''', 'iv = ''72:00''', 'iv IS NULL', 'b = ''\x00000003''',
    'o = 4294967287', 'tz = ''05:00+02''', 'tz = ''03:00+00''', 'm = ''00:00:00:00:00:03''', 'm8 = ''00:00:00:00:00:00:00:03''', 'c < ''-1''', 'c = ''0''', 'c BETWEEN ''-2'' AND ''2''',
    'j = ''{"n": null, "lang": 3}''', 'j -> ''lang'' = ''3.0''', 'j -> ''lang'' = ''3'' AND c >= ''0'' AND o <> 4294967287', 'j @> ''{"lang": 3}''']) c;
SELECT ivf_check('k_i', true) -> 'live' AS live;
DROP INDEX k_i;

CREATE UNLOGGED TABLE u (f folded, e vector(3));
CREATE TABLE o (o odd, os odd[], e vector(3));
SET search_path = public;
CREATE INDEX k_i ON kinds.k USING ivf (e, f);
CREATE INDEX k_i ON kinds.k USING ivf (e, f text_ops);
CREATE INDEX k_i ON kinds.k USING ivf (e, d);
CREATE INDEX k_i ON kinds.k USING ivf (e, n);
CREATE INDEX ON kinds.u USING ivf (e, f);
CREATE INDEX ON kinds.o USING ivf (e, o);
CREATE INDEX ON kinds.o USING ivf (e, os);
SET search_path = kinds, public;
-- The hint proposes a cast
CREATE INDEX k_i ON k USING ivf (e, (f::text), (n::int4), p, s, fs);
SELECT answered(c) FROM unnest(ARRAY['f::text = ''alice''', 'f = ''alice''', 'n::int4 = 13', 'n = ''13''', 'n::int4 < 13', 'p = ''BOB''', 's = ''Bob''',
    'fs @> ''{alice}''', 'fs && ''{bob}''']) c;
DROP INDEX k_i;
-- or an operator class
CREATE OPERATOR CLASS folded_ops DEFAULT FOR TYPE folded USING ivf AS OPERATOR 3 =, FUNCTION 1 ivf_hash_key();
CREATE OPERATOR CLASS digit_ops DEFAULT FOR TYPE digit USING ivf AS OPERATOR 3 =, FUNCTION 1 ivf_hash_key();
SELECT opcname, amvalidate(oid) FROM pg_opclass WHERE opcname IN ('folded_ops', 'digit_ops');
CREATE INDEX k_i ON k USING ivf (e, f, d, n);
INSERT INTO k SELECT id + 500, f, d, p, n, s, fs, e FROM k WHERE id <= 100;
SELECT answered(c) FROM unnest(ARRAY['f = ''alice''', 'f = ''Alice'' AND n = ''12''', 'd = ''bob''', 'n = ''12''', 'f::text = ''alice''', 'n::int4 = 13']) c;
SELECT ivf_check('k_i', true) -> 'live' AS live;
-- or the operator in the class that the server takes
DROP INDEX k_i;
DROP OPERATOR FAMILY folded_ops USING ivf;
ALTER OPERATOR FAMILY text_ops USING ivf ADD OPERATOR 3 = (folded, folded);
CREATE INDEX k_i ON k USING ivf (e, f);
SELECT answered(c) FROM unnest(ARRAY['f = ''alice''', 'f::text = ''alice''']) c;
ALTER OPERATOR FAMILY text_ops USING ivf DROP OPERATOR 3 (folded, folded);

-- citext itself, if the server has it: refused, but usable with an operator class for citext
DO $$
DECLARE answer text;
BEGIN
    BEGIN
        CREATE EXTENSION citext;
    EXCEPTION WHEN OTHERS THEN RETURN;
    END;
    CREATE TABLE folded_by_citext AS SELECT id, f::text::citext AS f, e FROM k;
    ALTER TABLE k RENAME TO before_citext;
    ALTER TABLE folded_by_citext RENAME TO k;
    DROP INDEX k_i;
    BEGIN
        CREATE INDEX k_i ON k USING ivf (e, f);
        RAISE EXCEPTION 'not refused';
    EXCEPTION WHEN feature_not_supported THEN
    END;
    CREATE OPERATOR CLASS citext_ops DEFAULT FOR TYPE citext USING ivf AS OPERATOR 3 =, FUNCTION 1 ivf_hash_key();
    CREATE INDEX k_i ON k USING ivf (e, f);
    answer := answered('f = ''ALICE''');
    IF answer <> 'f = ''ALICE'': 360 rows, index, same' THEN RAISE EXCEPTION '%', answer; END IF;
    DROP TABLE k;
    ALTER TABLE before_citext RENAME TO k;
    DROP EXTENSION citext CASCADE;
END $$;

-- Collations in which different texts are equal, if the server has them
DO $$
DECLARE answer text;
BEGIN
    BEGIN
        CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    EXCEPTION WHEN OTHERS THEN RETURN;
    END;
    CREATE TABLE loosely (id int, t text COLLATE loose, v varchar(9) COLLATE loose, c char(9) COLLATE loose, ts text[] COLLATE loose, e vector(3));
    INSERT INTO loosely SELECT id, f::text, f::text, f::text, ARRAY[f::text], e FROM k;
    ALTER TABLE k RENAME TO kept;
    ALTER TABLE loosely RENAME TO k;
    DROP INDEX IF EXISTS k_i;
    CREATE INDEX k_i ON k USING ivf (e, t, v, c, ts);
    FOR answer IN SELECT answered(c) FROM unnest(ARRAY['t = ''alice''', 'v = ''bob''', 'c = ''alice''', 't = ''alice'' COLLATE "C"', 'ts @> ''{alice}''']) c LOOP
        IF answer !~ 'same$' OR (answer !~ 'index' AND answer !~ 'COLLATE') OR answer ~ ' 0 rows' THEN RAISE EXCEPTION '%', answer; END IF;
    END LOOP;
END $$;
DROP SCHEMA kinds CASCADE;
