//! A standby gives the same answers as the primary, and replay writes the same bytes
//! (`wal_consistency_checking`).

use std::time::{Duration, Instant};

use crate::harness::{Server, literal, vector};

const CONF: &[&str] = &["wal_consistency_checking = 'all'", "max_wal_senders = 4", "autovacuum = off"];

/// Waits until a standby has replayed what its primary has done, as long as it goes on.
pub fn caught_up(primary: &Server, standby: &Server) {
    let target = primary.sql("SELECT pg_current_wal_lsn()");
    let (mut last, mut stopped) = (String::new(), Instant::now());
    while stopped.elapsed() < Duration::from_secs(60) {
        let look = format!("SELECT lsn >= '{target}', lsn FROM pg_last_wal_replay_lsn() lsn");
        match standby.try_sql(&look) {
            Ok(reached) if reached.starts_with('t') => return,
            Ok(reached) if reached == last => {}
            Ok(reached) => (last, stopped) = (reached, Instant::now()),
            // Any statement may be in the way of what is replayed.
            Err(message) => assert!(message.contains("40001"), "{message}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("the standby does not catch up");
}

#[test]
fn a_standby_gives_the_same_answers() {
    let primary = Server::new("primary", CONF);
    let standby = primary.standby("standby", &["hot_standby = on"]);
    primary.fill("items", 64, 0..12_000);
    primary.sql("CREATE INDEX items_index ON items USING ivf (embedding vector_cosine_ops)");
    let query = literal(&vector(5, 64));
    let search = format!(
        "SET enable_seqscan = off; SELECT id, embedding <=> '{query}' FROM items \
         ORDER BY embedding <=> '{query}' LIMIT 50"
    );
    for round in 0..4u32 {
        primary.sql(&format!("DELETE FROM items WHERE id % 11 = {round}"));
        primary.sql("VACUUM items");
        let first = 100_000 + 2000 * round;
        primary.fill("items", 64, first..first + 1500);
        caught_up(&primary, &standby);
        assert_eq!(standby.sql(&search), primary.sql(&search), "round {round}");
        standby.check("items_index");
    }
    // Functions that cannot run on a standby raise a clear error.
    assert_eq!(standby.sql("SELECT pg_is_in_recovery()"), "t");
    primary.sql("CREATE UNLOGGED TABLE fleeting AS SELECT * FROM items LIMIT 100");
    primary.sql("CREATE INDEX fleeting_index ON fleeting USING ivf (embedding)");
    caught_up(&primary, &standby);
    for call in [
        "ivf_index_info('fleeting_index')",
        "ivf_check('fleeting_index', true)",
        "ivf_recall('fleeting_index')",
        "ivf_neighbour_graph('fleeting_index')",
        "ivf_pairs('fleeting_index', 1)",
    ] {
        let error = standby.try_sql(&format!("SELECT {call}")).unwrap_err();
        assert!(error.contains("unlogged relations during recovery"), "{call}: {error}");
    }
    for call in ["ivf_recalibrate('items_index')", "ivf_recalibrate('items_index', ARRAY[]::vector[])"] {
        // A server in recovery has read-only transactions only.
        let error = standby.try_sql(&format!("SELECT {call}")).unwrap_err();
        assert!(error.contains("cannot execute ivf_recalibrate()"), "{call}: {error}");
    }
}
