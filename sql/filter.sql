-- Filter columns of an ivf index: operator classes for the columns after the vector.

-- Support function 1 of an operator class: how values become the keys that the index keeps.

CREATE FUNCTION ivf_bool_key() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_bool_key_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION ivf_int2_key() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_int2_key_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION ivf_int4_key() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_int4_key_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION ivf_int8_key() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_int8_key_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION ivf_float4_key() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_float4_key_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION ivf_float8_key() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_float8_key_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION ivf_numeric_key() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_numeric_key_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION ivf_uuid_key() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_uuid_key_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION ivf_hash_key() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_hash_key_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION ivf_labels_key() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_labels_key_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

-- Numbers compare with numbers of other sizes.

CREATE OPERATOR FAMILY integer_ops USING ivf;

CREATE OPERATOR CLASS int2_ops
    DEFAULT FOR TYPE int2 USING ivf FAMILY integer_ops AS
    OPERATOR 1 <,
    OPERATOR 2 <=,
    OPERATOR 3 =,
    OPERATOR 4 >=,
    OPERATOR 5 >,
    FUNCTION 1 ivf_int2_key();

CREATE OPERATOR CLASS int4_ops
    DEFAULT FOR TYPE int4 USING ivf FAMILY integer_ops AS
    OPERATOR 1 <,
    OPERATOR 2 <=,
    OPERATOR 3 =,
    OPERATOR 4 >=,
    OPERATOR 5 >,
    FUNCTION 1 ivf_int4_key();

CREATE OPERATOR CLASS int8_ops
    DEFAULT FOR TYPE int8 USING ivf FAMILY integer_ops AS
    OPERATOR 1 <,
    OPERATOR 2 <=,
    OPERATOR 3 =,
    OPERATOR 4 >=,
    OPERATOR 5 >,
    FUNCTION 1 ivf_int8_key();

ALTER OPERATOR FAMILY integer_ops USING ivf ADD
    OPERATOR 1 < (int2, int4),
    OPERATOR 2 <= (int2, int4),
    OPERATOR 3 = (int2, int4),
    OPERATOR 4 >= (int2, int4),
    OPERATOR 5 > (int2, int4),
    OPERATOR 1 < (int2, int8),
    OPERATOR 2 <= (int2, int8),
    OPERATOR 3 = (int2, int8),
    OPERATOR 4 >= (int2, int8),
    OPERATOR 5 > (int2, int8),
    OPERATOR 1 < (int4, int2),
    OPERATOR 2 <= (int4, int2),
    OPERATOR 3 = (int4, int2),
    OPERATOR 4 >= (int4, int2),
    OPERATOR 5 > (int4, int2),
    OPERATOR 1 < (int4, int8),
    OPERATOR 2 <= (int4, int8),
    OPERATOR 3 = (int4, int8),
    OPERATOR 4 >= (int4, int8),
    OPERATOR 5 > (int4, int8),
    OPERATOR 1 < (int8, int2),
    OPERATOR 2 <= (int8, int2),
    OPERATOR 3 = (int8, int2),
    OPERATOR 4 >= (int8, int2),
    OPERATOR 5 > (int8, int2),
    OPERATOR 1 < (int8, int4),
    OPERATOR 2 <= (int8, int4),
    OPERATOR 3 = (int8, int4),
    OPERATOR 4 >= (int8, int4),
    OPERATOR 5 > (int8, int4);

CREATE OPERATOR FAMILY float_ops USING ivf;

CREATE OPERATOR CLASS float4_ops
    DEFAULT FOR TYPE float4 USING ivf FAMILY float_ops AS
    OPERATOR 1 <,
    OPERATOR 2 <=,
    OPERATOR 3 =,
    OPERATOR 4 >=,
    OPERATOR 5 >,
    FUNCTION 1 ivf_float4_key();

CREATE OPERATOR CLASS float8_ops
    DEFAULT FOR TYPE float8 USING ivf FAMILY float_ops AS
    OPERATOR 1 <,
    OPERATOR 2 <=,
    OPERATOR 3 =,
    OPERATOR 4 >=,
    OPERATOR 5 >,
    FUNCTION 1 ivf_float8_key();

ALTER OPERATOR FAMILY float_ops USING ivf ADD
    OPERATOR 1 < (float4, float8),
    OPERATOR 2 <= (float4, float8),
    OPERATOR 3 = (float4, float8),
    OPERATOR 4 >= (float4, float8),
    OPERATOR 5 > (float4, float8),
    OPERATOR 1 < (float8, float4),
    OPERATOR 2 <= (float8, float4),
    OPERATOR 3 = (float8, float4),
    OPERATOR 4 >= (float8, float4),
    OPERATOR 5 > (float8, float4);

CREATE OPERATOR CLASS bool_ops
    DEFAULT FOR TYPE bool USING ivf AS
    OPERATOR 1 <,
    OPERATOR 2 <=,
    OPERATOR 3 =,
    OPERATOR 4 >=,
    OPERATOR 5 >,
    FUNCTION 1 ivf_bool_key();

CREATE OPERATOR CLASS date_ops
    DEFAULT FOR TYPE date USING ivf AS
    OPERATOR 1 <,
    OPERATOR 2 <=,
    OPERATOR 3 =,
    OPERATOR 4 >=,
    OPERATOR 5 >,
    FUNCTION 1 ivf_int4_key();

CREATE OPERATOR CLASS time_ops
    DEFAULT FOR TYPE time USING ivf AS
    OPERATOR 1 <,
    OPERATOR 2 <=,
    OPERATOR 3 =,
    OPERATOR 4 >=,
    OPERATOR 5 >,
    FUNCTION 1 ivf_int8_key();

CREATE OPERATOR CLASS timestamp_ops
    DEFAULT FOR TYPE timestamp USING ivf AS
    OPERATOR 1 <,
    OPERATOR 2 <=,
    OPERATOR 3 =,
    OPERATOR 4 >=,
    OPERATOR 5 >,
    FUNCTION 1 ivf_int8_key();

CREATE OPERATOR CLASS timestamptz_ops
    DEFAULT FOR TYPE timestamptz USING ivf AS
    OPERATOR 1 <,
    OPERATOR 2 <=,
    OPERATOR 3 =,
    OPERATOR 4 >=,
    OPERATOR 5 >,
    FUNCTION 1 ivf_int8_key();

CREATE OPERATOR CLASS money_ops
    DEFAULT FOR TYPE money USING ivf AS
    OPERATOR 1 <,
    OPERATOR 2 <=,
    OPERATOR 3 =,
    OPERATOR 4 >=,
    OPERATOR 5 >,
    FUNCTION 1 ivf_int8_key();

CREATE OPERATOR CLASS numeric_ops
    DEFAULT FOR TYPE numeric USING ivf AS
    OPERATOR 1 <,
    OPERATOR 2 <=,
    OPERATOR 3 =,
    OPERATOR 4 >=,
    OPERATOR 5 >,
    FUNCTION 1 ivf_numeric_key();

CREATE OPERATOR CLASS uuid_ops
    DEFAULT FOR TYPE uuid USING ivf AS
    OPERATOR 1 <,
    OPERATOR 2 <=,
    OPERATOR 3 =,
    OPERATOR 4 >=,
    OPERATOR 5 >,
    FUNCTION 1 ivf_uuid_key();

-- Types for which an index supports equality only.

CREATE OPERATOR CLASS text_ops
    DEFAULT FOR TYPE text USING ivf AS
    OPERATOR 3 =,
    FUNCTION 1 ivf_hash_key();

CREATE OPERATOR CLASS bpchar_ops
    DEFAULT FOR TYPE bpchar USING ivf AS
    OPERATOR 3 =,
    FUNCTION 1 ivf_hash_key();

CREATE OPERATOR CLASS enum_ops
    DEFAULT FOR TYPE anyenum USING ivf AS
    OPERATOR 3 =,
    FUNCTION 1 ivf_hash_key();

CREATE OPERATOR CLASS bytea_ops
    DEFAULT FOR TYPE bytea USING ivf AS
    OPERATOR 3 =,
    FUNCTION 1 ivf_hash_key();

CREATE OPERATOR CLASS inet_ops
    DEFAULT FOR TYPE inet USING ivf AS
    OPERATOR 3 =,
    FUNCTION 1 ivf_hash_key();

CREATE OPERATOR CLASS interval_ops
    DEFAULT FOR TYPE interval USING ivf AS
    OPERATOR 3 =,
    FUNCTION 1 ivf_hash_key();

CREATE OPERATOR CLASS jsonb_ops
    DEFAULT FOR TYPE jsonb USING ivf AS
    OPERATOR 3 =,
    FUNCTION 1 ivf_hash_key();

CREATE OPERATOR CLASS macaddr_ops
    DEFAULT FOR TYPE macaddr USING ivf AS
    OPERATOR 3 =,
    FUNCTION 1 ivf_hash_key();

CREATE OPERATOR CLASS macaddr8_ops
    DEFAULT FOR TYPE macaddr8 USING ivf AS
    OPERATOR 3 =,
    FUNCTION 1 ivf_hash_key();

CREATE OPERATOR CLASS oid_ops
    DEFAULT FOR TYPE oid USING ivf AS
    OPERATOR 3 =,
    FUNCTION 1 ivf_hash_key();

CREATE OPERATOR CLASS timetz_ops
    DEFAULT FOR TYPE timetz USING ivf AS
    OPERATOR 3 =,
    FUNCTION 1 ivf_hash_key();

-- Labels: arrays that contain another array, or share an element with it.

CREATE OPERATOR CLASS array_ops
    DEFAULT FOR TYPE anyarray USING ivf AS
    OPERATOR 6 @>,
    OPERATOR 7 &&,
    FUNCTION 1 ivf_labels_key();
