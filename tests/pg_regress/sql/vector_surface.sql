-- What the catalogs say about the type's functions and operators.
SELECT p.oid::regprocedure AS function, prorettype::regtype AS result, prokind AS kind, provolatile AS volatility,
	proisstrict AS strict, proparallel AS parallel, procost AS cost
	FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
	WHERE 'vector'::regtype = ANY (prorettype || proargtypes::oid[]) OR proname LIKE 'vector%'
	ORDER BY p.oid::regprocedure::text COLLATE "C";
SELECT oid::regoperator AS operator, oprresult::regtype AS result, oprcode::regprocedure AS function, oprcom::regoperator AS commutator,
	oprnegate::regoperator AS negator, oprrest AS restrict, oprjoin AS "join", oprcanmerge OR oprcanhash AS hashes
	FROM pg_operator WHERE 'vector'::regtype IN (oprleft, oprright) ORDER BY oprname COLLATE "C";
SELECT aggfnoid::regprocedure, aggtransfn, aggfinalfn, aggcombinefn, aggtranstype::regtype, agginitval
	FROM pg_aggregate WHERE aggfnoid::regprocedure::text ~ '\(vector\)$' ORDER BY aggfnoid::regprocedure::text COLLATE "C";
SELECT opcname, opcdefault, amname, amvalidate(c.oid) FROM pg_opclass c JOIN pg_am a ON a.oid = opcmethod
	WHERE opcintype = 'vector'::regtype AND amname = 'btree';
SELECT amopstrategy, amopopr::regoperator FROM pg_amop o JOIN pg_am a ON a.oid = amopmethod
	WHERE amoplefttype = 'vector'::regtype AND amname = 'btree' ORDER BY 1;
SELECT amprocnum, amproc FROM pg_amproc p JOIN pg_opfamily f ON f.oid = amprocfamily JOIN pg_am a ON a.oid = opfmethod
	WHERE amproclefttype = 'vector'::regtype AND amname = 'btree' ORDER BY 1;
