-- PostgreSQL 16+: input errors can be caught without raising them. (pgvector raises them.)
SELECT current_setting('server_version_num')::int >= 160000 AS soft \gset
\if :soft
SELECT pg_input_is_valid('[1,2,3]', 'vector');
SELECT pg_input_is_valid('[1,2,3', 'vector');
SELECT pg_input_is_valid('[1,2,3]', 'vector(3)');
SELECT pg_input_is_valid('[1,2,3]', 'vector(2)');
SELECT * FROM pg_input_error_info('[1,2,3', 'vector');
SELECT * FROM pg_input_error_info('1,2,3', 'vector');
SELECT * FROM pg_input_error_info('[1,2,3]x', 'vector');
SELECT * FROM pg_input_error_info('[4e38]', 'vector');
SELECT * FROM pg_input_error_info('[nan]', 'vector');
SELECT * FROM pg_input_error_info('[1,2]', 'vector(3)');
SELECT * FROM pg_input_error_info('[1,2]', 'vector');
\endif
