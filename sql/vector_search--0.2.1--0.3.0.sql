-- From 0.2.1 to 0.3.0: the function ivf_maintain.

CREATE FUNCTION ivf_maintain(index regclass, always boolean DEFAULT false) RETURNS jsonb
    AS 'MODULE_PATHNAME', 'ivf_maintain_wrapper' LANGUAGE C VOLATILE STRICT;

COMMENT ON FUNCTION ivf_maintain(regclass, boolean) IS 'replaces the lists of an ivf index if its rows have changed much, as VACUUM does';
