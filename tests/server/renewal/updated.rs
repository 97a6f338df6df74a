//! Rows are updated in place (HOT) while lists are replaced. The server's scan of a table that others change may
//! pass by such a row: it sees the version before, and the newer one comes to lie where the scan has been.

use super::*;

#[test]
fn rows_that_are_updated_in_place_stay_in_the_index() {
    let server = Server::new("renewal-updated", &["autovacuum = off", "fsync = off"]);
    server.sql("CREATE TABLE hot (id int, hits int DEFAULT 0, e vector(8)) WITH (fillfactor = 40)");
    server.sql(
        "INSERT INTO hot (id, e) SELECT i, ARRAY[i % 7, i % 11, i % 13, i, 1, 2, 3, 4]::vector \
         FROM generate_series(1, 3000) i",
    );
    server.sql("CREATE INDEX hot_e ON hot USING ivf (e) WITH (lists = 8); CREATE INDEX ON hot (id)");
    let updates = "DO $$ BEGIN FOR i IN 1 .. 15000 LOOP \
                   UPDATE hot SET hits = hits + 1 WHERE id = 1 + (random() * 2999)::int; COMMIT; \
                   END LOOP; END $$";
    let mut writers: Vec<_> = (0..3).map(|_| server.start_sql(updates)).collect();
    let mut renewals = 0;
    while writers.iter_mut().any(|writer| writer.try_wait().unwrap().is_none()) {
        server.sql("SELECT ivf_maintain('hot_e', true)");
        let live = server.sql("SELECT ivf_check('hot_e', true) ->> 'live'");
        assert_eq!(live, "3000", "after {renewals} renewals");
        renewals += 1;
    }
    let updated = server.sql(
        "SELECT pg_stat_force_next_flush(); \
         SELECT n_tup_hot_upd > 30000 FROM pg_stat_user_tables WHERE relname = 'hot'",
    );
    assert!(renewals > 3 && updated.ends_with('t'), "{renewals} renewals, updates in place: {updated}");
}
