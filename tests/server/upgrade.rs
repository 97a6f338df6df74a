//! After `ALTER EXTENSION … UPDATE` from any released version, the catalog is the same as after a fresh
//! install.

use crate::harness::{Server, major};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Every object of the extension with all its catalog properties, with names instead of OIDs.
const CATALOG: &str = r"
WITH member AS (SELECT classid, objid, pg_describe_object(classid, objid, 0) AS name FROM pg_depend
    WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
        AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'vector_search'))
SELECT name FROM member
UNION ALL SELECT pg_get_functiondef(oid) || coalesce(obj_description(oid), '') || coalesce(proacl::text, '')
    FROM pg_proc JOIN member ON objid = oid WHERE prokind = 'f'
UNION ALL SELECT concat_ws(' ', aggfnoid::regprocedure, aggtransfn, aggfinalfn, aggcombinefn,
    aggtranstype::regtype, agginitval, proparallel)
    FROM pg_aggregate JOIN member ON objid = aggfnoid JOIN pg_proc p ON p.oid = aggfnoid
UNION ALL SELECT concat_ws(' ', o.oid::regoperator, oprcode, oprcom::regoperator, oprnegate::regoperator,
    oprrest, oprjoin, oprcanhash, oprcanmerge)
    FROM pg_operator o JOIN member ON objid = o.oid
UNION ALL SELECT concat_ws(' ', typname, typlen, typinput, typoutput, typreceive, typsend, typmodin,
    typanalyze, typstorage, typalign, typcategory)
    FROM pg_type t JOIN member ON objid = t.oid
UNION ALL SELECT concat_ws(' ', castsource::regtype, casttarget::regtype, castfunc::regprocedure,
    castcontext, castmethod)
    FROM pg_cast c JOIN member ON objid = c.oid
UNION ALL SELECT concat_ws(' ', amname, opcname, opcintype::regtype, opcdefault, opckeytype::regtype)
    FROM pg_opclass c JOIN pg_am a ON a.oid = opcmethod JOIN member ON objid = c.oid
UNION ALL SELECT concat_ws(' ', amname, opfname, amoplefttype::regtype, amoprighttype::regtype,
    amopstrategy, amoppurpose, amopopr::regoperator)
    FROM pg_amop JOIN pg_opfamily f ON f.oid = amopfamily JOIN pg_am a ON a.oid = opfmethod JOIN member
    ON objid = f.oid
UNION ALL SELECT concat_ws(' ', amname, opfname, amproclefttype::regtype, amprocrighttype::regtype,
    amprocnum, amproc::regprocedure)
    FROM pg_amproc JOIN pg_opfamily f ON f.oid = amprocfamily JOIN pg_am a ON a.oid = opfmethod JOIN member
    ON objid = f.oid
ORDER BY 1";

fn released() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/upgrade")
}

/// The versions whose install scripts are kept.
fn versions() -> Vec<String> {
    let names = fs::read_dir(released()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    names.filter_map(|n| Some(n.strip_prefix("vector_search--")?.strip_suffix(".sql")?.to_owned())).collect()
}

/// A directory with the installed extension and the old install scripts.
fn extension_directory(place: &Path) {
    let pg_config = std::env::var("VECTOR_SEARCH_PG_CONFIG").unwrap();
    let output = Command::new(pg_config).arg("--sharedir").output().unwrap();
    let share = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim()).join("extension");
    fs::create_dir_all(place.join("extension")).unwrap();
    for from in fs::read_dir(share).unwrap().chain(fs::read_dir(released()).unwrap()) {
        let from = from.unwrap();
        if from.file_name().to_string_lossy().starts_with("vector_search") {
            fs::copy(from.path(), place.join("extension").join(from.file_name())).unwrap();
        }
    }
}

#[test]
fn an_upgraded_catalog_is_a_fresh_one() {
    if major() < 18 {
        eprintln!("skipped: before PostgreSQL 18 old scripts would have to be installed");
        return;
    }
    let place = PathBuf::from(format!("/tmp/vs-upgrade-{}", std::process::id()));
    extension_directory(&place);
    let path = format!("extension_control_path = '{}:$system'", place.display());
    let server = Server::new("upgrade", &["fsync = off", &path]);
    let fresh = server.sql(CATALOG);
    assert!(fresh.lines().count() > 500);
    assert!(!versions().is_empty());
    for version in versions() {
        server.sql("DROP EXTENSION vector_search CASCADE");
        server.sql(&format!("CREATE EXTENSION vector_search VERSION '{version}'"));
        server.fill("items", 8, 0..3000);
        server.sql("CREATE INDEX by_embedding ON items USING ivf (embedding, category)");
        server.sql("ALTER EXTENSION vector_search UPDATE");
        assert_eq!(server.sql(CATALOG), fresh, "from {version}");
        server.check("by_embedding");
        server.sql("CREATE INDEX ON items USING ivf ((embedding::halfvec(8)) halfvec_l2_ops)");
        let equal = "SELECT count(*) FROM items a JOIN items b USING (embedding)";
        let hashed = format!("SET enable_mergejoin = off; SET enable_nestloop = off; {equal}");
        assert_eq!(server.sql(&hashed), "3000");
        server.sql("DROP TABLE items");
    }
    let _ = fs::remove_dir_all(place);
}
