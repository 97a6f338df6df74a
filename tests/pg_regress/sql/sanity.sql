-- The catalog entries of the extension, in the spirit of core's opr_sanity.
CREATE TEMP VIEW members AS
SELECT classid, objid FROM pg_depend
WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
  AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'vector_search');

SELECT extversion = (SELECT default_version FROM pg_available_extensions a WHERE a.name = extname) AS current, extrelocatable FROM pg_extension WHERE extname = 'vector_search';

-- Every function: volatility, strictness, parallel safety
SELECT p.oid::regprocedure AS function, pg_get_function_result(p.oid) AS result, provolatile AS v,
       proisstrict AS strict, proparallel AS p
FROM pg_proc p JOIN members m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
ORDER BY p.proname COLLATE "C", pg_get_function_identity_arguments(p.oid) COLLATE "C";

-- Every operator: commutator, negator, estimators
SELECT o.oid::regoperator AS operator, oprresult::regtype AS result, oprcom::regoperator AS commutator,
       oprnegate::regoperator AS negator, oprcode, oprrest, oprjoin
FROM pg_operator o JOIN members m ON m.classid = 'pg_operator'::regclass AND m.objid = o.oid
ORDER BY o.oprname COLLATE "C", oprleft::regtype::text COLLATE "C";

-- Commutators commute, and functions of operators are not volatile
SELECT o.oid::regoperator FROM pg_operator o JOIN members m ON m.classid = 'pg_operator'::regclass AND m.objid = o.oid
JOIN pg_operator c ON c.oid = o.oprcom WHERE c.oprcom <> o.oid OR c.oprleft <> o.oprright;
SELECT o.oid::regoperator FROM pg_operator o JOIN members m ON m.classid = 'pg_operator'::regclass AND m.objid = o.oid
JOIN pg_proc p ON p.oid = o.oprcode WHERE provolatile <> 'i' OR NOT proisstrict OR proparallel <> 's';

-- Every operator class is valid
SELECT amname, opcname, opcintype::regtype, opcdefault, amvalidate(oc.oid)
FROM pg_opclass oc JOIN members m ON m.classid = 'pg_opclass'::regclass AND m.objid = oc.oid
JOIN pg_am am ON am.oid = opcmethod ORDER BY amname, opcname;

-- Every cast
SELECT castsource::regtype AS source, casttarget::regtype AS target, castcontext, castmethod
FROM pg_cast c JOIN members m ON m.classid = 'pg_cast'::regclass AND m.objid = c.oid
ORDER BY castsource::regtype::text COLLATE "C", casttarget::regtype::text COLLATE "C";
