-- From 0.2.1 to 0.3.0: the function ivf_maintain, classes for L1 and Jaccard distance and for sparsevec,
-- arithmetic with numbers, late interaction.

CREATE FUNCTION ivf_maintain(index regclass, always boolean DEFAULT false) RETURNS jsonb
    AS 'MODULE_PATHNAME', 'ivf_maintain_wrapper' LANGUAGE C VOLATILE STRICT;

COMMENT ON FUNCTION ivf_maintain(regclass, boolean) IS 'replaces the lists of an ivf index if its rows have changed much, as VACUUM does';

CREATE FUNCTION ivf_l1_metric() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_l1_metric_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION ivf_halfvec_l1_metric() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_halfvec_l1_metric_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION ivf_bit_jaccard_metric() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_bit_jaccard_metric_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE OPERATOR CLASS vector_l1_ops
    FOR TYPE vector USING ivf AS
    OPERATOR 1 <+> (vector, vector) FOR ORDER BY float_ops,
    FUNCTION 1 (vector, vector) ivf_l1_metric();

CREATE OPERATOR CLASS halfvec_l1_ops
    FOR TYPE halfvec USING ivf AS
    OPERATOR 1 <+> (halfvec, halfvec) FOR ORDER BY float_ops,
    FUNCTION 1 (halfvec, halfvec) ivf_halfvec_l1_metric();

CREATE OPERATOR CLASS bit_jaccard_ops
    FOR TYPE bit USING ivf AS
    OPERATOR 1 <%> (bit, bit) FOR ORDER BY float_ops,
    FUNCTION 1 (bit, bit) ivf_bit_jaccard_metric();

CREATE FUNCTION ivf_sparsevec_l2_metric() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_sparsevec_l2_metric_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION ivf_sparsevec_cosine_metric() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_sparsevec_cosine_metric_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION ivf_sparsevec_ip_metric() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_sparsevec_ip_metric_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION ivf_sparsevec_l1_metric() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_sparsevec_l1_metric_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE OPERATOR CLASS sparsevec_l2_ops
    DEFAULT FOR TYPE sparsevec USING ivf AS
    OPERATOR 1 <-> (sparsevec, sparsevec) FOR ORDER BY float_ops,
    FUNCTION 1 (sparsevec, sparsevec) ivf_sparsevec_l2_metric();

CREATE OPERATOR CLASS sparsevec_cosine_ops
    FOR TYPE sparsevec USING ivf AS
    OPERATOR 1 <=> (sparsevec, sparsevec) FOR ORDER BY float_ops,
    FUNCTION 1 (sparsevec, sparsevec) ivf_sparsevec_cosine_metric();

CREATE OPERATOR CLASS sparsevec_ip_ops
    FOR TYPE sparsevec USING ivf AS
    OPERATOR 1 <#> (sparsevec, sparsevec) FOR ORDER BY float_ops,
    FUNCTION 1 (sparsevec, sparsevec) ivf_sparsevec_ip_metric();

CREATE OPERATOR CLASS sparsevec_l1_ops
    FOR TYPE sparsevec USING ivf AS
    OPERATOR 1 <+> (sparsevec, sparsevec) FOR ORDER BY float_ops,
    FUNCTION 1 (sparsevec, sparsevec) ivf_sparsevec_l1_metric();

-- What the planner is told about a distance: its cost, and its operator.
CREATE FUNCTION sparsevec_distance_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'sparsevec_distance_support_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

ALTER FUNCTION l2_distance(sparsevec, sparsevec) SUPPORT sparsevec_distance_support;

ALTER FUNCTION inner_product(sparsevec, sparsevec) SUPPORT sparsevec_distance_support;

ALTER FUNCTION cosine_distance(sparsevec, sparsevec) SUPPORT sparsevec_distance_support;

ALTER FUNCTION l1_distance(sparsevec, sparsevec) SUPPORT sparsevec_distance_support;

ALTER FUNCTION sparsevec_l2_squared_distance(sparsevec, sparsevec) SUPPORT sparsevec_distance_support;

ALTER FUNCTION sparsevec_negative_inner_product(sparsevec, sparsevec) SUPPORT sparsevec_distance_support;

CREATE FUNCTION vector_mul_scalar(vector, real) RETURNS vector
	AS 'MODULE_PATHNAME', 'vector_mul_scalar_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION scalar_mul_vector(real, vector) RETURNS vector
	AS 'MODULE_PATHNAME', 'scalar_mul_vector_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION vector_div_scalar(vector, real) RETURNS vector
	AS 'MODULE_PATHNAME', 'vector_div_scalar_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE OPERATOR * (
	LEFTARG = vector, RIGHTARG = real, PROCEDURE = vector_mul_scalar,
	COMMUTATOR = *
);

CREATE OPERATOR * (
	LEFTARG = real, RIGHTARG = vector, PROCEDURE = scalar_mul_vector,
	COMMUTATOR = *
);

CREATE OPERATOR / (
	LEFTARG = vector, RIGHTARG = real, PROCEDURE = vector_div_scalar
);

CREATE FUNCTION halfvec_mul_scalar(halfvec, real) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'halfvec_mul_scalar_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION scalar_mul_halfvec(real, halfvec) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'scalar_mul_halfvec_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION halfvec_div_scalar(halfvec, real) RETURNS halfvec
	AS 'MODULE_PATHNAME', 'halfvec_div_scalar_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE OPERATOR * (
	LEFTARG = halfvec, RIGHTARG = real, PROCEDURE = halfvec_mul_scalar,
	COMMUTATOR = *
);

CREATE OPERATOR * (
	LEFTARG = real, RIGHTARG = halfvec, PROCEDURE = scalar_mul_halfvec,
	COMMUTATOR = *
);

CREATE OPERATOR / (
	LEFTARG = halfvec, RIGHTARG = real, PROCEDURE = halfvec_div_scalar
);

CREATE FUNCTION maxsim(vector[], vector[]) RETURNS float8
	AS 'MODULE_PATHNAME', 'maxsim_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000;

COMMENT ON FUNCTION maxsim(vector[], vector[]) IS 'sum, over the vectors of the second array, of the largest inner product with one of the first';

CREATE FUNCTION vector_negative_maxsim(vector[], vector[]) RETURNS float8
	AS 'MODULE_PATHNAME', 'vector_negative_maxsim_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000;

CREATE FUNCTION maxsim(halfvec[], halfvec[]) RETURNS float8
	AS 'MODULE_PATHNAME', 'halfvec_maxsim_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000;

COMMENT ON FUNCTION maxsim(halfvec[], halfvec[]) IS 'sum, over the vectors of the second array, of the largest inner product with one of the first';

CREATE FUNCTION halfvec_negative_maxsim(halfvec[], halfvec[]) RETURNS float8
	AS 'MODULE_PATHNAME', 'halfvec_negative_maxsim_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000;

CREATE OPERATOR @# (
	LEFTARG = vector[], RIGHTARG = vector[], PROCEDURE = vector_negative_maxsim
);

CREATE OPERATOR @# (
	LEFTARG = halfvec[], RIGHTARG = halfvec[], PROCEDURE = halfvec_negative_maxsim
);

CREATE FUNCTION ivf_vector_maxsim_metric() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_vector_maxsim_metric_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION ivf_halfvec_maxsim_metric() RETURNS int2
    AS 'MODULE_PATHNAME', 'ivf_halfvec_maxsim_metric_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE OPERATOR CLASS vector_maxsim_ops
    DEFAULT FOR TYPE vector[] USING ivf AS
    OPERATOR 1 @# (vector[], vector[]) FOR ORDER BY float_ops,
    FUNCTION 1 (vector[], vector[]) ivf_vector_maxsim_metric();

CREATE OPERATOR CLASS halfvec_maxsim_ops
    DEFAULT FOR TYPE halfvec[] USING ivf AS
    OPERATOR 1 @# (halfvec[], halfvec[]) FOR ORDER BY float_ops,
    FUNCTION 1 (halfvec[], halfvec[]) ivf_halfvec_maxsim_metric();

-- Filter columns of further types.

CREATE OPERATOR CLASS money_ops
    DEFAULT FOR TYPE money USING ivf AS
    OPERATOR 1 <,
    OPERATOR 2 <=,
    OPERATOR 3 =,
    OPERATOR 4 >=,
    OPERATOR 5 >,
    FUNCTION 1 ivf_int8_key();

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

CREATE FUNCTION ivf_neighbours(index regclass, queries vector[], k int DEFAULT 10)
    RETURNS TABLE (query int, neighbour tid, distance float8)
    AS 'MODULE_PATHNAME', 'ivf_neighbours_wrapper' LANGUAGE C STABLE STRICT COST 100000 ROWS 10000;

COMMENT ON FUNCTION ivf_neighbours(regclass, vector[], int) IS 'the nearest rows of each vector, by an ivf index';

CREATE FUNCTION ivf_neighbours(index regclass, queries halfvec[], k int DEFAULT 10)
    RETURNS TABLE (query int, neighbour tid, distance float8)
    AS 'MODULE_PATHNAME', 'ivf_neighbours_halfvec_wrapper' LANGUAGE C STABLE STRICT COST 100000 ROWS 10000;

COMMENT ON FUNCTION ivf_neighbours(regclass, halfvec[], int) IS 'the nearest rows of each vector, by an ivf index';

CREATE FUNCTION ivf_neighbours(index regclass, queries bit[], k int DEFAULT 10)
    RETURNS TABLE (query int, neighbour tid, distance float8)
    AS 'MODULE_PATHNAME', 'ivf_neighbours_bit_wrapper' LANGUAGE C STABLE STRICT COST 100000 ROWS 10000;

COMMENT ON FUNCTION ivf_neighbours(regclass, bit[], int) IS 'the nearest rows of each bit string, by an ivf index';

CREATE FUNCTION ivf_neighbour_graph(index regclass, k int DEFAULT 10)
    RETURNS TABLE (item tid, neighbour tid, distance float8)
    AS 'MODULE_PATHNAME', 'ivf_neighbour_graph_wrapper' LANGUAGE C STABLE STRICT COST 1000000 ROWS 1000000;

COMMENT ON FUNCTION ivf_neighbour_graph(regclass, int) IS 'the nearest other rows of each row of an ivf index';

CREATE FUNCTION ivf_pairs(index regclass, below float8)
    RETURNS TABLE (item tid, neighbour tid, distance float8)
    AS 'MODULE_PATHNAME', 'ivf_pairs_wrapper' LANGUAGE C STABLE STRICT COST 1000000 ROWS 100000;

COMMENT ON FUNCTION ivf_pairs(regclass, float8) IS 'all pairs of rows of an ivf index whose distance is less than a number';

COMMENT ON FUNCTION ivf_recall(regclass, int, int) IS 'measures the recall of an ivf index against an exact pass over its table';
COMMENT ON FUNCTION ivf_recalibrate(regclass) IS 'measures again how many lists each recall target needs, with rows of the table as queries';
COMMENT ON FUNCTION ivf_recalibrate(regclass, vector[]) IS 'measures how many lists each recall target needs for these queries';
