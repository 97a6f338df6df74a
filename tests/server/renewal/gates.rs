//! VACUUM stopped at a row while it replaces lists, and what others do meanwhile.

use std::io::Write as _;
use std::process::Child;

use super::*;
use crate::session::Session;
use crate::standby::caught_up;

/// A partial index over all rows; whoever evaluates its condition for row 1 waits at the gate while that is
/// shut.
const GATE: &str = "
CREATE FUNCTION gate(id bigint) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
    IF id = 1 THEN PERFORM pg_advisory_lock_shared(7), pg_advisory_unlock_shared(7); END IF;
    RETURN true;
END $$;
CREATE INDEX gated ON items USING ivf (embedding) WITH (lists = 16) WHERE gate(id);
";

/// A session that keeps the gate shut.
struct Gate {
    session: Child,
}

impl Gate {
    /// Shuts the gate.
    fn shut(server: &Server) -> Self {
        let mut session = server.interactive();
        let input = session.stdin.as_mut().unwrap();
        writeln!(input, "SELECT pg_advisory_lock(7);").unwrap();
        let gate = Self { session };
        Self::wait(server, "granted");
        gate
    }

    /// Waits until somebody stands before the gate, or it is shut (`granted`).
    fn wait(server: &Server, state: &str) {
        let granted = if state == "granted" { "mode = 'ExclusiveLock' AND granted" } else { "NOT granted" };
        let asked = format!("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND {granted}");
        for _ in 0..600 {
            if server.sql(&asked) != "0" {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("nobody waits at the gate");
    }

    /// Lets who waits go on to the next row 1.
    fn step(&mut self, server: &Server) {
        let input = self.session.stdin.as_mut().unwrap();
        writeln!(input, "SELECT pg_advisory_unlock(7), pg_advisory_lock(7);").unwrap();
        Self::wait(server, "granted");
        Self::wait(server, "waiting");
    }

    /// Opens the gate.
    fn open(mut self) {
        drop(self.session.stdin.take());
        let _ = self.session.wait();
    }
}

#[test]
fn rows_that_a_standby_still_sees_are_not_lost() {
    let conf = ["max_wal_senders = 4", "autovacuum = off", "fsync = off"];
    let primary = Server::new("renewal-gate", &conf);
    primary.sql(SET_UP);
    primary.sql("CALL rows(1, 2500, NULL)");
    primary.sql(GATE);
    primary.sql(&new_topic(0));
    let standby =
        primary.standby("renewal-gate-standby", &["hot_standby = on", "max_standby_streaming_delay = '1s'"]);
    caught_up(&primary, &standby);
    let mut reader = Session::new(&standby);
    reader.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    reader.run("SELECT 1");
    // VACUUM has seen the table and stands before the sample of its rows.
    let mut gate = Gate::shut(&primary);
    let vacuum = primary.start_sql("SET client_min_messages = debug2; VACUUM items");
    Gate::wait(&primary, "waiting");
    primary.sql("DELETE FROM items WHERE id BETWEEN 100 AND 199");
    gate.step(&primary);
    gate.open();
    let output = vacuum.wait_with_output().unwrap();
    let messages = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(reason(&messages).is_some(), "{messages}");
    caught_up(&primary, &standby);
    // It has its rows, or it was cancelled, or its connection was ended.
    let answer = reader.answer(comparison(5, "WHERE gate(id)", 0.0).trim_end_matches(';'));
    let is_right = match &answer {
        Ok(answer) => answer.text.ends_with("4000") || answer.state.as_deref() == Some("40001"),
        Err(said) => said.contains("40001") || said.contains("conflict with recovery"),
    };
    assert!(is_right, "{answer:?}");
}

/// A row with a vector out of line.
const LONG: &str =
    "(SELECT array_agg(t * sin(t * i) + sin(n * i)) FROM generate_series(1, 700) i)::vector(700)";

#[test]
fn vectors_that_go_from_toast_meanwhile() {
    let server = Server::new("renewal-toast", &["autovacuum = off", "fsync = off"]);
    // Before the sample, and before the copy.
    for gates in 2..4 {
        server.sql("DROP TABLE IF EXISTS items; DROP FUNCTION IF EXISTS gate(bigint)");
        server.sql("CREATE TABLE items (id bigint PRIMARY KEY, embedding vector(700))");
        server.sql("ALTER TABLE items ALTER embedding SET STORAGE EXTERNAL");
        let rows = |first: u64, last: u64, topic: &str| {
            let numbers = format!("(SELECT n, {topic} t FROM generate_series({first}, {last}) n) s");
            server.sql(&format!("INSERT INTO items SELECT n, {LONG} FROM {numbers}"));
        };
        rows(1, 600, "n % 9");
        server.sql(GATE);
        rows(1001, 1400, "21");
        let toast = server.sql("SELECT reltoastrelid::regclass FROM pg_class WHERE relname = 'items'");
        // An old snapshot keeps rows that are deleted. VACUUM comes to the gate and means to read them; then
        // they go, for VACUUM's own snapshot keeps nothing.
        let mut old = server.interactive();
        let mut input = old.stdin.take().unwrap();
        writeln!(input, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pg_advisory_lock(8);").unwrap();
        let kept = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 8";
        while server.sql(kept) == "0" {}
        server.sql(&format!("DELETE FROM items WHERE id % 20 = {gates} AND id > 1"));
        let mut gate = Gate::shut(&server);
        let vacuum = server.start_sql("SET client_min_messages = debug2; VACUUM items");
        Gate::wait(&server, "waiting");
        for _ in 1..gates {
            gate.step(&server);
        }
        drop(input);
        let _ = old.wait();
        // VACUUM's renewal may keep other vacuums away; whoever reads a full page tidies it up as well.
        let _ = server.try_sql(&format!("SET lock_timeout = '500ms'; VACUUM {toast}"));
        server.sql(&format!("SELECT count(*) FROM {toast}"));
        gate.open();
        let output = vacuum.wait_with_output().unwrap();
        let messages = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "at gate {gates}: {messages}");
        server.check("gated");
    }
}
