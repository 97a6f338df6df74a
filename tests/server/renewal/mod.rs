//! VACUUM replaces the lists of indexes in use: crashes, concurrency, standbys, cancel, all kinds of indexes.

mod cancelled;
mod concurrent;
mod gates;
mod killed;
mod kinds;
mod moved;
mod standby;

use crate::harness::{Server, setting};

/// Tables and what the tests do with them.
///
/// - `vec(seed, topic)`: a row of a topic. Those from 100 on are far from all others, and wide.
/// - `rows(first, last, topic)`: adds rows; without a topic they are of forty.
/// - `compare(table, column, operator, query, condition, pause)`: an index scan to the end, which pauses
///   after a few rows, has the rows of a sequential scan of the same snapshot, each once and in order.
const SET_UP: &str = "
CREATE FUNCTION vec(seed bigint, topic bigint) RETURNS vector IMMUTABLE LANGUAGE sql AS $$
    SELECT array_agg(CASE WHEN topic < 100 THEN 1 ELSE 4 END * sin(topic * 37.1 * i + i * i)
        + sin(seed * 12.9898 * i + i))::vector FROM generate_series(1, 16) i $$;
CREATE TABLE items (id bigint PRIMARY KEY, category int, embedding vector(16));
CREATE PROCEDURE rows(first bigint, last bigint, topic bigint) LANGUAGE sql AS $$
    INSERT INTO items SELECT n, n % 7, vec(n, coalesce(topic, n % 40)) FROM generate_series(first, last) n $$;
CREATE FUNCTION compare(tab text, col text, op text, query text, condition text, pause float8)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    rows refcursor; r record; last float8 := '-infinity'; n bigint := 0;
    by_index bigint[] := '{}'; by_table bigint[]; missing bigint[]; beyond bigint[];
BEGIN
    PERFORM set_config('enable_seqscan', 'off', true), set_config('ivf.recall_target', '1', true);
    OPEN rows NO SCROLL FOR EXECUTE
        format('SELECT id, %1$s %2$s %3$L AS d FROM %4$I %5$s ORDER BY %1$s %2$s %3$L',
            col, op, query, tab, condition);
    LOOP
        FETCH rows INTO r;
        EXIT WHEN NOT FOUND;
        IF r.d < last THEN RAISE 'row % is out of order: % after %', r.id, r.d, last; END IF;
        last := r.d;
        n := n + 1;
        by_index := by_index || r.id;
        IF n = 20 THEN PERFORM pg_sleep(pause); END IF;
    END LOOP;
    CLOSE rows;
    PERFORM set_config('enable_seqscan', 'on', true), set_config('enable_indexscan', 'off', true),
        set_config('enable_indexonlyscan', 'off', true), set_config('enable_bitmapscan', 'off', true);
    EXECUTE format('SELECT coalesce(array_agg(id ORDER BY id), ''{}'') FROM %I %s', tab, condition)
        INTO by_table;
    PERFORM set_config('enable_indexscan', 'on', true);
    SELECT coalesce(array_agg(id ORDER BY id), '{}') INTO by_index FROM unnest(by_index) id;
    IF by_index <> by_table THEN
        SELECT array_agg(id) INTO missing FROM
            (SELECT unnest(by_table) EXCEPT ALL SELECT unnest(by_index) ORDER BY 1 LIMIT 5) s (id);
        SELECT array_agg(id) INTO beyond FROM
            (SELECT unnest(by_index) EXCEPT ALL SELECT unnest(by_table) ORDER BY 1 LIMIT 5) s (id);
        RAISE '% rows by the index and % by the table: missing %, too many %', cardinality(by_index),
            cardinality(by_table), missing, beyond;
    END IF;
    RETURN n;
END $$;
";

/// A server with the table `items`, its index `items_index` of sixteen lists and 2,500 rows.
fn server(name: &str, conf: &[&str]) -> Server {
    let server = Server::new(name, conf);
    server.sql(SET_UP);
    server.sql("CALL rows(1, 2500, NULL)");
    server.sql("CREATE INDEX items_index ON items USING ivf (embedding, category) WITH (lists = 16)");
    server
}

/// First number of the rows of a topic that makes the lists uneven.
fn first_of(topic: u64) -> u64 {
    100_000_000 + topic * 10_000
}

/// Statements that add rows of a new topic, as many that new lists are due.
fn new_topic(topic: u64) -> String {
    let first = first_of(topic);
    format!("CALL rows({first}, {}, {});", first + 1499, 100 + topic)
}

/// Statements that delete the rows of a topic.
fn drop_topic(topic: u64) -> String {
    let first = first_of(topic);
    format!("DELETE FROM items WHERE id BETWEEN {first} AND {};", first + 1499)
}

/// Runs VACUUM. Why it has replaced the lists of the index, if it has.
fn vacuum(server: &Server) -> Option<String> {
    vacuum_of(server, "items")
}

fn vacuum_of(server: &Server, table: &str) -> Option<String> {
    let script = format!("SET client_min_messages = debug2; VACUUM {table}");
    let output = server.start_sql(&script).wait_with_output().unwrap();
    let messages = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{messages}");
    reason(&messages)
}

/// Why lists were replaced, by VACUUM's messages.
fn reason(messages: &str) -> Option<String> {
    let renewed = messages.lines().find(|line| line.contains("renewed index"))?;
    Some(renewed.split(['(', ')']).nth(1).unwrap_or_default().to_owned())
}

/// The statement that compares a whole scan of `items` with its table.
fn comparison(seed: u64, condition: &str, pause: f64) -> String {
    format!("SELECT compare('items', 'embedding', '<->', vec({seed}, {seed})::text, '{condition}', {pause});")
}

/// Verifies the index and compares scans of it with its table.
fn verify(server: &Server) {
    server.check("items_index");
    server.sql(&comparison(3, "", 0.0));
    server.sql(&comparison(4, "WHERE category = 3", 0.0));
}

/// Whether the index has lists that are to take the place of those in use, and pages known to be free.
fn state(server: &Server, index: &str) -> (bool, u32) {
    let answer = server.sql(&format!(
        "CHECKPOINT; WITH meta AS (SELECT pg_read_binary_file(pg_relation_filepath('{index}'), 24, 1000) m)
         SELECT get_byte(m, 407), get_byte(m, 403) + 256 * (get_byte(m, 404) + 256 * get_byte(m, 405))
         FROM meta"
    ));
    let (next, free) = answer.split_once('|').unwrap();
    (next == "1", free.parse().unwrap())
}

/// Pages of the index, and those to which nothing refers.
fn pages(server: &Server, index: &str) -> (u32, u32) {
    let answer =
        server.sql(&format!("SELECT c ->> 'pages', c ->> 'unused_pages' FROM ivf_check('{index}') c"));
    let (pages, unused) = answer.split_once('|').unwrap();
    (pages.parse().unwrap(), unused.parse().unwrap())
}
