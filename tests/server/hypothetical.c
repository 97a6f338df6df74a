/* Shows the planner a hypothetical ivf index beside each one that exists, as HypoPG does: a structure without
 * a relation, under a number that no relation has. */
#include "postgres.h"

#include "fmgr.h"
#include "nodes/pathnodes.h"
#include "commands/explain.h"
#include "optimizer/pathnode.h"
#include "optimizer/plancat.h"

PG_MODULE_MAGIC;

#define NO_RELATION ((Oid) 4000000000u)

static void
#if PG_VERSION_NUM < 190000
add_hypothetical(PlannerInfo *root, Oid table, bool inhparent, RelOptInfo *rel)
#else
add_hypothetical(PlannerInfo *root, RelOptInfo *rel, RangeTblEntry *entry)
#endif
{
    ListCell *cell;
    List *added = NIL;

    foreach(cell, rel->indexlist)
    {
        IndexOptInfo *index = (IndexOptInfo *) lfirst(cell);
        if (index->amcanorderbyop && index->sortopfamily == NULL)
        {
            IndexOptInfo *copy = makeNode(IndexOptInfo);
            memcpy(copy, index, sizeof(IndexOptInfo));
            copy->indexoid = NO_RELATION;
            copy->hypothetical = true;
            copy->pages = rel->pages / 4;
            copy->tuples = rel->tuples;
            added = lappend(added, copy);
        }
    }
    /* The index that exists would always cost about as much. */
    if (added != NIL)
        rel->indexlist = added;
}

static const char *
name_of(Oid index)
{
    return index == NO_RELATION ? "hypothetical" : NULL;
}

void _PG_init(void);

void
_PG_init(void)
{
#if PG_VERSION_NUM < 190000
    get_relation_info_hook = add_hypothetical;
#else
    build_simple_rel_hook = add_hypothetical;
#endif
    explain_get_index_name_hook = name_of;
}
