-- Late interaction: a row has several vectors, and each vector of a query counts by its largest inner product
-- with one of them. The row comes first, the query second.

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
