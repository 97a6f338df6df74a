//! If memory cannot be allocated, the statement fails and the session continues. The memory that a backend
//! keeps is bounded.

use crate::harness::Server;
use crate::session::Session;

/// One statement for each kind of work of this extension, and a statement to run after it without a limit.
const WORK: &[(&str, &str)] = &[
    ("SELECT id FROM items ORDER BY embedding <-> (SELECT embedding FROM items WHERE id = 5) LIMIT 10", ""),
    ("INSERT INTO more SELECT id, embedding FROM items LIMIT 3000", "TRUNCATE more"),
    ("COPY more FROM PROGRAM 'seq 1 2000 | sed ''s/$/\\t[1,2,3,4,5,6,7,8]/'''", "TRUNCATE more"),
    ("SELECT ivf_check('items_index', true)", ""),
    ("SELECT ivf_check('bits_index', true)", ""),
    ("SELECT ivf_recall('items_index', 20, 10)", ""),
    ("SELECT count(ivf_neighbour_graph('items_index', 20))", ""),
    ("SELECT count(ivf_pairs('items_index', 0.5))", ""),
    ("SELECT count(ivf_neighbours('items_index', (SELECT array_agg(embedding) FROM items), 5))", ""),
    ("SELECT ivf_recalibrate('items_index')", ""),
    ("SELECT ivf_recalibrate('items_index', (SELECT array_agg(embedding) FROM items WHERE id < 2000))", ""),
    ("SELECT ivf_index_info('items_index')", ""),
    ("VACUUM items", ""),
    ("SELECT avg(embedding), sum(embedding) FROM items", ""),
    ("SELECT avg(long::vector) FROM longs", ""),
    ("SELECT array_agg(x)::vector FROM generate_series(1, 16000) x", ""),
    ("SELECT array_agg(x)::vector FROM generate_series(1, 300000) x", ""),
    ("SELECT array_agg(x::numeric)::vector FROM generate_series(1, 16000) x", ""),
    ("SELECT long::vector, long::halfvec FROM longs", ""),
    ("SELECT long::vector::sparsevec FROM longs", ""),
    ("SELECT ('not a vector ' || repeat(long, 20))::vector FROM longs LIMIT 1", ""),
    ("SELECT ('{' || repeat('1:1,', 15000) || '2:2}/20000')::sparsevec", ""),
    ("SELECT binary_quantize(long::vector) FROM longs", ""),
];

/// Sets up a server with tables and indexes to work on.
fn server(name: &str) -> Server {
    let server =
        Server::new(name, &["autovacuum = off", "fsync = off", "shared_buffers = '64MB'", "jit = off"]);
    server.fill("items", 64, 0..20_000);
    server.sql(
        "CREATE INDEX items_index ON items USING ivf (embedding, category);
         CREATE TABLE more (id int, embedding vector); CREATE TABLE longs (long text);
         CREATE INDEX ON more USING ivf ((embedding::vector(8)));
         INSERT INTO longs SELECT '[' || string_agg((x + y * random())::text, ',') || ']'
             FROM generate_series(1, 16000) x, generate_series(1, 3) y GROUP BY y;
         CREATE INDEX bits_index ON items USING ivf ((binary_quantize(embedding)::bit(64)) bit_hamming_ops);",
    );
    server
}

const NEAREST: &str = "SELECT count(*) FROM (SELECT id FROM items ORDER BY embedding <-> \
     (SELECT embedding FROM items WHERE id = 7) LIMIT 10) s";

/// Runs a statement with a limit of `more` bytes above what the backend uses. Returns what it printed and the
/// SQLSTATE of its error. The backend must survive.
fn attempt(
    server: &Server,
    session: &mut Session,
    statement: &str,
    megabytes: u64,
) -> (String, Option<String>) {
    let before = session.backend.clone();
    session.limit(server, &format!("as={}", session.status("VmSize") + (megabytes << 20)));
    let answer = session.run(statement);
    session.limit(server, "as=unlimited");
    assert_eq!(
        session.run("SELECT pg_backend_pid()"),
        before,
        "{statement}, {megabytes} MB: the backend has gone after {answer}"
    );
    let state = answer.lines().filter_map(|line| line.strip_prefix("SQLSTATE ")).next_back();
    let state = state.map(str::to_owned);
    (answer, state)
}

/// Builds and calibrations: number of workers, a statement, and a statement to run after it without a limit.
const BUILDS: &[(u32, &str, &str)] = &[
    (0, "REINDEX INDEX items_index", ""),
    (4, "REINDEX INDEX items_index", ""),
    (
        4,
        "CREATE INDEX wide_index ON wide USING ivf (embedding) WITH (lists = 60)",
        "DROP INDEX IF EXISTS wide_index",
    ),
    (4, "REINDEX INDEX bits_index", ""),
    (4, "SELECT ivf_recalibrate('items_index')", ""),
    // Before each vacuum half of the rows are deleted, or inserted again, so that it calibrates.
    (
        4,
        "VACUUM moved",
        "WITH gone AS (DELETE FROM moved WHERE id >= 3000)
         INSERT INTO moved SELECT id, embedding FROM items WHERE id BETWEEN 3000 AND 5999
             AND NOT EXISTS (SELECT FROM moved WHERE id >= 3000)",
    ),
];

#[test]
fn memory_that_a_build_cannot_have_is_an_error() {
    let server = server("build_memory");
    server.sql(
        "CREATE TABLE wide (embedding vector(384));
         INSERT INTO wide SELECT (SELECT array_agg(random()) FROM generate_series(1, 384) WHERE i = i)::vector
             FROM generate_series(1, 4000) i;
         CREATE TABLE moved AS SELECT id, embedding FROM items WHERE id < 6000;
         CREATE INDEX moved_index ON moved USING ivf ((embedding::vector(64))) WITH (lists = 40);
         DELETE FROM moved WHERE id >= 3000;",
    );
    let mut session = Session::new(&server);
    session.run("SET enable_seqscan = off");
    session.run("SET client_min_messages = error");
    session.run("SET maintenance_work_mem = '256MB'");
    // Loads the library before the test, because loading must not fail.
    assert_eq!(session.run(NEAREST), "10");
    let (mut failed, mut worked) = (0, 0);
    for (workers, statement, after) in BUILDS {
        session.run(&format!("SET max_parallel_maintenance_workers = {workers}"));
        for megabytes in [2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256] {
            let (answer, state) = attempt(&server, &mut session, statement, megabytes);
            match state.as_deref() {
                None => worked += 1,
                Some("53200") => failed += 1,
                Some(_) => panic!("{statement}, {megabytes} MB: {answer}"),
            }
            session.run(after);
            assert_eq!(session.run(NEAREST), "10", "{statement}, {megabytes} MB: it goes on");
        }
    }
    assert!(failed > 0 && worked > 30, "{failed} failed, {worked} worked");
    server.check("items_index");
    server.check("bits_index");
    server.check("moved_index");
}

#[test]
fn memory_that_cannot_be_had_is_an_error() {
    let server = server("memory");
    let mut session = Session::new(&server);
    session.run("SET enable_seqscan = off");
    session.run("SET client_min_messages = error");
    session.run("SET maintenance_work_mem = '256MB'");
    session.run("DELETE FROM items WHERE id % 50 = 1");
    let (mut failed, mut worked) = (0, 0);
    for (statement, after) in WORK {
        for megabytes in [0, 1, 2, 3, 5, 8, 16, 40] {
            let (answer, state) = attempt(&server, &mut session, statement, megabytes);
            match state {
                None => worked += 1,
                Some(state) if state.starts_with("53") => failed += 1,
                // The result of the statement without a limit.
                Some(state) => {
                    let whole = session.run(statement);
                    assert!(
                        whole.contains(&format!("SQLSTATE {state}")),
                        "{statement}, {megabytes} MB: {answer}"
                    );
                }
            }
            session.run(after);
            assert_eq!(session.run(NEAREST), "10", "{statement}, {megabytes} MB: it goes on");
        }
    }
    // How many fail depends on what the allocator still holds; that both happen is what counts.
    assert!(failed > 5 && worked > 20, "{failed} failed, {worked} worked");
    server.check("items_index");
    server.check("bits_index");
}

#[test]
fn a_backend_keeps_a_bounded_amount_of_many_indexes() {
    let server =
        Server::new("partitions", &["autovacuum = off", "fsync = off", "max_locks_per_transaction = 4000"]);
    server.sql(
        "CREATE TABLE parts (id int, part int, embedding vector(32)) PARTITION BY LIST (part);
         DO $$ BEGIN FOR p IN 1..500 LOOP
             EXECUTE format('CREATE TABLE part_%s PARTITION OF parts FOR VALUES IN (%s)', p, p);
         END LOOP; END $$;
         INSERT INTO parts SELECT i, 1 + i % 500, format('[%s]', repeat((i % 13)::text || ',', 31) \
         || i)::vector
             FROM generate_series(1, 5000) i;
         DO $$ BEGIN FOR p IN 1..500 LOOP
             EXECUTE format('CREATE INDEX part_%s_index ON part_%s USING ivf (embedding)', p, p);
         END LOOP; END $$;",
    );
    let mut session = Session::new(&server);
    session.run("SET enable_seqscan = off");
    let query = |part: u32| {
        format!(
            "SELECT count(*) FROM (SELECT id FROM part_{part} ORDER BY embedding <-> \
             (SELECT embedding FROM part_{part} LIMIT 1) LIMIT 5) s"
        )
    };
    assert_eq!(session.run(&query(1)), "5");
    // The server's own caches of relations and plans grow, too. Scans of the tables without the index show by
    // how much.
    let own = |session: &mut Session, index: bool| {
        let before = session.status("RssAnon");
        for part in 2..=500 {
            let sql = match index {
                true => query(part),
                false => format!("SELECT count(*) FROM part_{part} WHERE embedding IS NOT NULL"),
            };
            session.run(&sql);
        }
        session.status("RssAnon").saturating_sub(before)
    };
    own(&mut session, false);
    let first = own(&mut session, true);
    let second = own(&mut session, true);
    assert!(first < 24 << 20, "{first} bytes more after 500 indexes");
    assert!(second < 2 << 20, "{second} bytes more after the same indexes again");
}
