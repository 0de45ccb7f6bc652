/* With sql_walk.c the only files that see libpg_query and PostgreSQL's headers; the same rules hold here. */
#include "routing/sql_walk_target.h"

/* The order matters: pg_query.h, its internals with postgres.h, and only then the rest of PostgreSQL. */
/* clang-format off */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wignored-attributes" /* clang does not know PostgreSQL's gnu_printf */
#include <pg_query.h>
#undef PG_VERSION
#undef PG_VERSION_NUM
#undef PG_MAJORVERSION
#include <pg_query_internal.h>
#include <nodes/parsenodes.h>
#include <nodes/primnodes.h>
#pragma GCC diagnostic pop
/* clang-format on */

#include <stdlib.h>

struct target_walk {
    lull_sql_table_sink sink;
    void* context;
    bool known;
};

static void table(struct target_walk* w, const RangeVar* r) {
    if (r)
        w->sink(w->context, r->schemaname, r->relname);
    else
        w->known = false;
}

static void writes_of(struct target_walk* w, const Node* n);

/* A data-modifying CTE stands at the top of its statement; anywhere else the server refuses it. */
static void ctes(struct target_walk* w, const WithClause* with) {
    for (int i = 0; with && i < list_length(with->ctes); ++i) {
        const CommonTableExpr* c = list_nth(with->ctes, i);
        if (nodeTag(c->ctequery) != T_SelectStmt) writes_of(w, c->ctequery);
    }
}

static void writes_of(struct target_walk* w, const Node* n) {
    switch (nodeTag(n)) {
        case T_InsertStmt: {
            const InsertStmt* s = (const InsertStmt*)n;
            ctes(w, s->withClause);
            if (s->selectStmt && nodeTag(s->selectStmt) == T_SelectStmt)
                ctes(w, ((const SelectStmt*)s->selectStmt)->withClause);
            table(w, s->relation);
            return;
        }
        case T_UpdateStmt:
            ctes(w, ((const UpdateStmt*)n)->withClause);
            table(w, ((const UpdateStmt*)n)->relation);
            return;
        case T_DeleteStmt:
            ctes(w, ((const DeleteStmt*)n)->withClause);
            table(w, ((const DeleteStmt*)n)->relation);
            return;
        case T_MergeStmt:
            ctes(w, ((const MergeStmt*)n)->withClause);
            table(w, ((const MergeStmt*)n)->relation);
            return;
        case T_CopyStmt:
            if (((const CopyStmt*)n)->is_from)
                table(w, ((const CopyStmt*)n)->relation);
            else
                w->known = false;
            return;
        case T_TruncateStmt: {
            const List* relations = ((const TruncateStmt*)n)->relations;
            for (int i = 0; i < list_length(relations); ++i) table(w, list_nth(relations, i));
            return;
        }
        default:
            w->known = false; /* what calls functions, or changes the schema, names no table that it writes */
    }
}

static bool is_values(const Node* n, int* rows) {
    if (!n) {
        *rows = 1; /* DEFAULT VALUES */
        return true;
    }
    if (nodeTag(n) != T_SelectStmt) return false;
    const SelectStmt* s = (const SelectStmt*)n;
    *rows = list_length(s->valuesLists);
    return *rows > 0 && !s->withClause && s->op == SETOP_NONE && !s->limitCount && !s->limitOffset;
}

static void autonomous(struct lull_sql_target* out, const Node* n) {
    switch (nodeTag(n)) {
        case T_InsertStmt: {
            const InsertStmt* s = (const InsertStmt*)n;
            out->verb = 'I';
            out->autonomous = !s->withClause && !s->returningList && is_values(s->selectStmt, &out->rows);
            return;
        }
        case T_UpdateStmt: {
            const UpdateStmt* s = (const UpdateStmt*)n;
            out->verb = 'U';
            out->autonomous = !s->withClause && !s->returningList &&
                              !(s->whereClause && nodeTag(s->whereClause) == T_CurrentOfExpr);
            return;
        }
        case T_DeleteStmt: {
            const DeleteStmt* s = (const DeleteStmt*)n;
            out->verb = 'D';
            out->autonomous = !s->withClause && !s->returningList &&
                              !(s->whereClause && nodeTag(s->whereClause) == T_CurrentOfExpr);
            return;
        }
        default:
            return;
    }
}

bool lull_sql_find_target(const char* text, lull_sql_table_sink sink, void* context,
                          struct lull_sql_target* out) {
    struct target_walk w = {sink, context, true};
    MemoryContext arena = pg_query_enter_memory_context();
    PgQueryInternalParsetreeAndError parsed = pg_query_raw_parse(text);
    bool ok = parsed.error == NULL;
    if (ok) {
        int n = list_length(parsed.tree);
        for (int i = 0; i < n; ++i) {
            const RawStmt* raw = list_nth(parsed.tree, i);
            writes_of(&w, raw->stmt);
            if (n == 1) autonomous(out, raw->stmt);
        }
        out->tables_known = w.known && n > 0;
    } else {
        pg_query_free_error(parsed.error);
    }
    free(parsed.stderr_buffer);
    pg_query_exit_memory_context(arena);
    return ok;
}
