//! Room 4: the only room that knows Postgres.
