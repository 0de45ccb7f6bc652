/* The only file that sees libpg_query and PostgreSQL's headers. Static reads of structures only: no macro of
 * PostgreSQL that touches a global (PG_TRY, palloc, CurrentMemoryContext) may be used here, because these are
 * thread-local in the library and plain in the headers. Reading is a whitelist: a node that is not named
 * makes the statement `unknown`.
 */
#include "routing/sql_walk.h"

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

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

/* PostgreSQL's own, in the library: which names need their quotes. */
extern const char* quote_identifier(const char* name);

/* port.h points it at the library's own, which formats through PostgreSQL's globals. */
#undef snprintf

/* Of WITH clauses around what is walked, each with so many of its names visible. */
enum { MOST_SCOPES = 64 };
struct scope {
    const List* ctes;
    int visible;
};

struct walk {
    int depth, max_depth;
    lull_sql_lookup lookup;
    lull_sql_name name;
    void* context;
    struct scope scopes[MOST_SCOPES];
    int scope_count;
    enum lull_sql_access access;
    bool too_deep, unknown_node, pins, may_set, constants_matter;
    bool writes;                /* a data-modifying CTE */
    LockClauseStrength locking; /* of the first locking clause met; LCS_NONE: none */
    const char* denied;
    const char* unlisted; /* a function; anything else that is not listed makes the access unknown for good */
};

static void walk(struct walk* w, const void* node);

static void raise_to(enum lull_sql_access* a, enum lull_sql_access b) {
    if (b > *a) *a = b;
}

static bool same(const char* a, const char* b) {
    return strcmp(a, b) == 0;
}

static const char* string_at(const List* list, int i) {
    const Node* n = list_nth(list, i);
    return nodeTag(n) == T_String ? ((const String*)n)->sval : "";
}

static void unlisted(struct walk* w, const char* name) {
    if (!w->unlisted) w->unlisted = name;
}

static void named(struct walk* w, enum lull_sql_named what, const char* schema, const char* name) {
    w->name(w->context, what, schema, name, false);
}

/* The names of PostgreSQL's grammar: [catalog.][schema.]name. */
static void named_by(struct walk* w, enum lull_sql_named what, const List* name) {
    int n = list_length(name);
    if (n > 0) named(w, what, n > 1 ? string_at(name, n - 2) : NULL, string_at(name, n - 1));
}

/* Operators of other schemas run functions that nobody listed. */
static void check_operator(struct walk* w, const List* name) {
    int n = list_length(name);
    named_by(w, LULL_NAMED_OPERATOR, name);
    if (n > 1 && !(n == 2 && same(string_at(name, 0), "pg_catalog"))) {
        raise_to(&w->access, LULL_UNKNOWN);
        unlisted(w, string_at(name, n - 1));
    }
}

/* Of a.b and a.b.f the last name may be a function of the row. */
static void check_attribute(struct walk* w, const List* fields) {
    int n = list_length(fields);
    for (int i = 1; i < n; ++i) {
        const Node* field = list_nth(fields, i);
        if (nodeTag(field) == T_String) named(w, LULL_NAMED_ATTRIBUTE, NULL, ((const String*)field)->sval);
    }
}

static bool is_cte(const struct walk* w, const char* name) {
    for (int i = w->scope_count; i-- > 0;)
        for (int j = 0; j < w->scopes[i].visible; ++j)
            if (same(((const CommonTableExpr*)list_nth(w->scopes[i].ctes, j))->ctename, name)) return true;
    return false;
}

static void check_relation(struct walk* w, const RangeVar* r) {
    if (r && (r->schemaname || !is_cte(w, r->relname))) named(w, LULL_NAMED_RELATION, r->schemaname, r->relname);
}

/* Its names stay visible until the walk() that met it returns. */
static void walk_with(struct walk* w, const WithClause* with) {
    if (!with) return;
    if (w->scope_count == MOST_SCOPES) {
        w->unknown_node = true;
        return;
    }
    struct scope* scope = &w->scopes[w->scope_count++];
    int n = list_length(with->ctes);
    scope->ctes = with->ctes;
    scope->visible = with->recursive ? n : 0;
    for (int i = 0; i < n; ++i) {
        walk(w, list_nth(with->ctes, i));
        if (!with->recursive) scope->visible = i + 1;
    }
}

/* A cast that leaves a constant what it is and runs no code but PostgreSQL's own, unless search_path has a type of
 * that name (which the catalog knows). */
static bool is_plain_cast(const TypeCast* c) {
    const TypeName* t = c->typeName;
    int n = list_length(t->names);
    if (t->typmods || t->arrayBounds || t->setof || t->pct_type) return false;
    if (n != 1 && !(n == 2 && same(string_at(t->names, 0), "pg_catalog"))) return false;
    const char* type = string_at(t->names, n - 1);
    return same(type, "text") || same(type, "varchar") || same(type, "bool");
}

/* 't', 'on', true ...: LULL_UNSET when it is not a boolean constant. */
static enum lull_sql_option boolean_of(const Node* n) {
    if (n && nodeTag(n) == T_TypeCast) {
        if (!is_plain_cast((const TypeCast*)n)) return LULL_UNSET;
        n = ((const TypeCast*)n)->arg;
    }
    if (n && nodeTag(n) == T_A_Const) {
        if (((const A_Const*)n)->isnull) return LULL_UNSET;
        n = &((const A_Const*)n)->val.node;
    }
    if (!n) return LULL_UNSET;
    if (nodeTag(n) == T_Boolean) return ((const Boolean*)n)->boolval ? LULL_ON : LULL_OFF;
    if (nodeTag(n) == T_Integer) {
        int i = ((const Integer*)n)->ival;
        return i == 1 ? LULL_ON : i == 0 ? LULL_OFF : LULL_UNSET;
    }
    if (nodeTag(n) != T_String) return LULL_UNSET;
    /* As PostgreSQL's parse_bool: unique prefixes, any case, no blanks. */
    const char* s = ((const String*)n)->sval;
    size_t length = strlen(s);
    static const struct {
        const char* word;
        size_t least;
        enum lull_sql_option means;
    } words[] = {{"true", 1, LULL_ON}, {"false", 1, LULL_OFF}, {"yes", 1, LULL_ON}, {"no", 1, LULL_OFF},
                 {"on", 2, LULL_ON},   {"off", 2, LULL_OFF},   {"1", 1, LULL_ON},   {"0", 1, LULL_OFF}};
    for (size_t i = 0; i < sizeof words / sizeof *words; ++i) {
        if (length >= words[i].least && length <= strlen(words[i].word) &&
            strncasecmp(s, words[i].word, length) == 0)
            return words[i].means;
    }
    return LULL_UNSET;
}

static void judge_call(struct walk* w, enum lull_sql_function class, const char* name, const List* args) {
    switch (class) {
        case LULL_FUNCTION_READ:
            break;
        case LULL_FUNCTION_SESSION:
            raise_to(&w->access, LULL_SESSION);
            break;
        case LULL_FUNCTION_LOCK:
            raise_to(&w->access, LULL_SESSION);
            /* Locks of the transaction go with it; all others, and their release, belong to one server
             * session. */
            if (!strstr(name, "_xact_")) w->pins = true;
            break;
        case LULL_FUNCTION_SET_CONFIG:
            raise_to(&w->access, LULL_SESSION);
            w->may_set = w->constants_matter = true;
            if (list_length(args) != 3 || boolean_of(list_nth(args, 2)) != LULL_ON) w->pins = true;
            break;
        case LULL_FUNCTION_DENIED:
            raise_to(&w->access, LULL_WRITE);
            if (!w->denied) w->denied = name;
            break;
        case LULL_FUNCTION_UNKNOWN:
            unlisted(w, name);
            break;
    }
}

static void walk_function(struct walk* w, const FuncCall* f) {
    int n = list_length(f->funcname);
    const char* name = string_at(f->funcname, n - 1);
    const char* schema = n > 1 ? string_at(f->funcname, n - 2) : NULL;
    enum lull_sql_function class = w->lookup(w->context, schema, name);
    w->name(w->context, LULL_NAMED_FUNCTION, schema, name, class == LULL_FUNCTION_UNKNOWN);
    judge_call(w, class, name, f->args);
    walk(w, f->args);
    walk(w, f->agg_order);
    walk(w, f->agg_filter);
    walk(w, f->over);
}

/* (x).f calls any function that takes one x, whatever x is (ParseFuncOrColumn), unless x has a column f. */
static void check_indirection(struct walk* w, const List* fields) {
    int n = list_length(fields);
    for (int i = 0; i < n; ++i) {
        const Node* field = list_nth(fields, i);
        if (nodeTag(field) != T_String) continue;
        const char* name = ((const String*)field)->sval;
        w->name(w->context, LULL_NAMED_ATTRIBUTE, "()", name, true);
        enum lull_sql_function class = w->lookup(w->context, NULL, name);
        /* A name that no list has is a column as a rule; but these take one OID, and run what the function of that
         * OID has in its text. */
        size_t length = strlen(name);
        bool validates = length > 10 && same(name + length - 10, "_validator");
        if (validates) w->name(w->context, LULL_NAMED_FUNCTION, NULL, name, true);
        if (class != LULL_FUNCTION_UNKNOWN || validates) judge_call(w, class, name, NULL);
    }
}

/* BETWEEN and its like name their operators otherwise. */
static void check_expression(struct walk* w, const A_Expr* e) {
    switch (e->kind) {
        case AEXPR_BETWEEN:
        case AEXPR_NOT_BETWEEN:
        case AEXPR_BETWEEN_SYM:
        case AEXPR_NOT_BETWEEN_SYM:
            for (const char* const* op = (const char* const[]){"<", "<=", ">", ">=", NULL}; *op; ++op)
                named(w, LULL_NAMED_OPERATOR, NULL, *op);
            return;
        default:
            check_operator(w, e->name);
    }
}

static void walk_sample(struct walk* w, const RangeTableSample* s) {
    int n = list_length(s->method);
    const char* method = string_at(s->method, n - 1);
    bool ours = n == 1 || (n == 2 && same(string_at(s->method, 0), "pg_catalog"));
    if (!ours || !(same(method, "bernoulli") || same(method, "system"))) {
        raise_to(&w->access, LULL_UNKNOWN);
        unlisted(w, method);
    }
    walk(w, s->relation);
    walk(w, s->args);
    walk(w, s->repeatable);
}

static void walk_writer(struct walk* w, const Node* n) {
    switch (nodeTag(n)) {
        case T_InsertStmt: {
            const InsertStmt* s = (const InsertStmt*)n;
            walk_with(w, s->withClause);
            walk(w, s->cols);
            walk(w, s->selectStmt);
            walk(w, s->onConflictClause);
            walk(w, s->returningList);
            break;
        }
        case T_UpdateStmt: {
            const UpdateStmt* s = (const UpdateStmt*)n;
            /* A rule of that view makes it a set_config() for the session. */
            if (same(s->relation->relname, "pg_settings")) w->pins = w->may_set = true;
            walk_with(w, s->withClause);
            walk(w, s->targetList);
            walk(w, s->fromClause);
            walk(w, s->whereClause);
            walk(w, s->returningList);
            break;
        }
        case T_DeleteStmt: {
            const DeleteStmt* s = (const DeleteStmt*)n;
            walk_with(w, s->withClause);
            walk(w, s->usingClause);
            walk(w, s->whereClause);
            walk(w, s->returningList);
            break;
        }
        default: {
            const MergeStmt* s = (const MergeStmt*)n;
            walk_with(w, s->withClause);
            walk(w, s->sourceRelation);
            walk(w, s->joinCondition);
            walk(w, s->mergeWhenClauses);
            break;
        }
    }
}

/* All of a SELECT but its left child, which the caller's loop takes: chains of UNION are left-deep. */
static void walk_select(struct walk* w, const SelectStmt* s) {
    walk_with(w, s->withClause);
    walk(w, s->distinctClause);
    walk(w, s->targetList);
    walk(w, s->fromClause);
    walk(w, s->whereClause);
    walk(w, s->groupClause);
    walk(w, s->havingClause);
    walk(w, s->windowClause);
    walk(w, s->valuesLists);
    walk(w, s->sortClause);
    walk(w, s->limitOffset);
    walk(w, s->limitCount);
    walk(w, s->lockingClause);
    /* INTO below the top is an error of the server's; at the top the caller has dealt with it. */
    walk(w, s->rarg);
}

static void walk_xml(struct walk* w, const Node* n) {
    switch (nodeTag(n)) {
        case T_XmlExpr:
            walk(w, ((const XmlExpr*)n)->named_args);
            walk(w, ((const XmlExpr*)n)->args);
            break;
        case T_XmlSerialize:
            walk(w, ((const XmlSerialize*)n)->expr);
            walk(w, ((const XmlSerialize*)n)->typeName);
            break;
        case T_RangeTableFunc:
            walk(w, ((const RangeTableFunc*)n)->docexpr);
            walk(w, ((const RangeTableFunc*)n)->rowexpr);
            walk(w, ((const RangeTableFunc*)n)->namespaces);
            walk(w, ((const RangeTableFunc*)n)->columns);
            break;
        default:
            walk(w, ((const RangeTableFuncCol*)n)->typeName);
            walk(w, ((const RangeTableFuncCol*)n)->colexpr);
            walk(w, ((const RangeTableFuncCol*)n)->coldefexpr);
            break;
    }
}

/* Left children of chains (a + b + c, UNION, JOIN, casts) are taken in the loop, so that only real nesting
 * costs stack. */
static void walk_node(struct walk* w, const Node* n) {
#define NEXT(child)           \
    n = (const Node*)(child); \
    continue
    while (n) {
        switch (nodeTag(n)) {
            case T_List:
                for (int i = 0; i < list_length((const List*)n); ++i) walk(w, list_nth((const List*)n, i));
                return;
            case T_Integer:
            case T_Float:
            case T_Boolean:
            case T_String:
            case T_BitString:
            case T_A_Const:
            case T_A_Star:
            case T_ParamRef:
            case T_SQLValueFunction:
            case T_SetToDefault:
            case T_CurrentOfExpr:
                return;
            case T_ColumnRef:
                check_attribute(w, ((const ColumnRef*)n)->fields);
                return;
            case T_RangeVar:
                check_relation(w, (const RangeVar*)n);
                return;
            case T_SelectStmt:
                walk_select(w, (const SelectStmt*)n);
                NEXT(((const SelectStmt*)n)->larg);
            case T_InsertStmt:
            case T_UpdateStmt:
            case T_DeleteStmt:
            case T_MergeStmt:
                w->writes = true;
                walk_writer(w, n);
                return;
            case T_LockingClause:
                if (w->locking == LCS_NONE) w->locking = ((const LockingClause*)n)->strength;
                return;
            case T_CommonTableExpr: {
                const CommonTableExpr* c = (const CommonTableExpr*)n;
                if (c->cycle_clause) {
                    walk(w, c->cycle_clause->cycle_mark_value);
                    walk(w, c->cycle_clause->cycle_mark_default);
                }
                NEXT(c->ctequery);
            }
            case T_FuncCall:
                walk_function(w, (const FuncCall*)n);
                return;
            case T_A_Expr:
                check_expression(w, (const A_Expr*)n);
                walk(w, ((const A_Expr*)n)->rexpr);
                NEXT(((const A_Expr*)n)->lexpr);
            case T_BoolExpr:
                NEXT(((const BoolExpr*)n)->args);
            case T_TypeCast:
                walk(w, ((const TypeCast*)n)->typeName);
                NEXT(((const TypeCast*)n)->arg);
            case T_TypeName:
                named_by(w, LULL_NAMED_TYPE, ((const TypeName*)n)->names);
                NEXT(((const TypeName*)n)->typmods);
            case T_CollateClause:
                NEXT(((const CollateClause*)n)->arg);
            case T_SubLink:
                check_operator(w, ((const SubLink*)n)->operName);
                if (((const SubLink*)n)->subLinkType == ANY_SUBLINK && !((const SubLink*)n)->operName) /* IN */
                    named(w, LULL_NAMED_OPERATOR, NULL, "=");
                walk(w, ((const SubLink*)n)->testexpr);
                NEXT(((const SubLink*)n)->subselect);
            case T_CaseExpr:
                if (((const CaseExpr*)n)->arg) named(w, LULL_NAMED_OPERATOR, NULL, "=");
                walk(w, ((const CaseExpr*)n)->arg);
                walk(w, ((const CaseExpr*)n)->args);
                NEXT(((const CaseExpr*)n)->defresult);
            case T_CaseWhen:
                walk(w, ((const CaseWhen*)n)->expr);
                NEXT(((const CaseWhen*)n)->result);
            case T_CoalesceExpr:
                NEXT(((const CoalesceExpr*)n)->args);
            case T_MinMaxExpr:
                NEXT(((const MinMaxExpr*)n)->args);
            case T_RowExpr:
                NEXT(((const RowExpr*)n)->args);
            case T_GroupingFunc:
                NEXT(((const GroupingFunc*)n)->args);
            case T_NullTest:
                NEXT(((const NullTest*)n)->arg);
            case T_BooleanTest:
                NEXT(((const BooleanTest*)n)->arg);
            case T_NamedArgExpr:
                NEXT(((const NamedArgExpr*)n)->arg);
            case T_A_ArrayExpr:
                NEXT(((const A_ArrayExpr*)n)->elements);
            case T_A_Indirection:
                check_indirection(w, ((const A_Indirection*)n)->indirection);
                walk(w, ((const A_Indirection*)n)->indirection);
                NEXT(((const A_Indirection*)n)->arg);
            case T_A_Indices:
                walk(w, ((const A_Indices*)n)->lidx);
                NEXT(((const A_Indices*)n)->uidx);
            case T_ResTarget:
                walk(w, ((const ResTarget*)n)->indirection);
                NEXT(((const ResTarget*)n)->val);
            case T_MultiAssignRef:
                NEXT(((const MultiAssignRef*)n)->source);
            case T_SortBy:
                check_operator(w, ((const SortBy*)n)->useOp);
                NEXT(((const SortBy*)n)->node);
            case T_GroupingSet:
                NEXT(((const GroupingSet*)n)->content);
            case T_WindowDef:
                walk(w, ((const WindowDef*)n)->partitionClause);
                walk(w, ((const WindowDef*)n)->orderClause);
                walk(w, ((const WindowDef*)n)->startOffset);
                NEXT(((const WindowDef*)n)->endOffset);
            case T_JoinExpr:
                if (((const JoinExpr*)n)->isNatural || ((const JoinExpr*)n)->usingClause)
                    named(w, LULL_NAMED_OPERATOR, NULL, "=");
                walk(w, ((const JoinExpr*)n)->quals);
                walk(w, ((const JoinExpr*)n)->rarg);
                NEXT(((const JoinExpr*)n)->larg);
            case T_RangeSubselect:
                NEXT(((const RangeSubselect*)n)->subquery);
            case T_RangeFunction:
                walk(w, ((const RangeFunction*)n)->coldeflist);
                NEXT(((const RangeFunction*)n)->functions);
            case T_RangeTableSample:
                walk_sample(w, (const RangeTableSample*)n);
                return;
            case T_ColumnDef: /* of a function in FROM: names and types only */
                if (((const ColumnDef*)n)->raw_default || ((const ColumnDef*)n)->constraints)
                    w->unknown_node = true;
                NEXT(((const ColumnDef*)n)->typeName);
            case T_XmlExpr:
            case T_XmlSerialize:
            case T_RangeTableFunc:
            case T_RangeTableFuncCol:
                walk_xml(w, n);
                return;
            case T_OnConflictClause:
                walk(w, ((const OnConflictClause*)n)->infer);
                walk(w, ((const OnConflictClause*)n)->targetList);
                NEXT(((const OnConflictClause*)n)->whereClause);
            case T_InferClause:
                walk(w, ((const InferClause*)n)->indexElems);
                NEXT(((const InferClause*)n)->whereClause);
            case T_IndexElem:
                NEXT(((const IndexElem*)n)->expr);
            case T_MergeWhenClause:
                walk(w, ((const MergeWhenClause*)n)->condition);
                walk(w, ((const MergeWhenClause*)n)->targetList);
                NEXT(((const MergeWhenClause*)n)->values);
            default:
                w->unknown_node = true;
                return;
        }
    }
#undef NEXT
}

static void walk(struct walk* w, const void* node) {
    if (!node) return;
    if (w->depth >= w->max_depth) {
        w->too_deep = true;
        return;
    }
    int scopes = w->scope_count;
    ++w->depth;
    walk_node(w, node);
    --w->depth;
    w->scope_count = scopes;
}

/* ---- statements ---- */

static void set_command(struct lull_sql_statement* out, const char* verb, const char* object) {
    snprintf(out->command, sizeof out->command, "%s%s%s", verb, *object ? " " : "", object);
}

static void is(struct lull_sql_statement* out, enum lull_sql_kind kind, enum lull_sql_access access,
               const char* command) {
    out->kind = kind;
    out->access = access;
    set_command(out, command, "");
}

static void copy_findings(struct lull_sql_statement* out, const struct walk* w) {
    raise_to(&out->access, w->access);
    if (w->too_deep || w->unknown_node) raise_to(&out->access, LULL_UNKNOWN);
    if (w->unlisted && out->access < LULL_UNKNOWN) {
        out->only_unlisted = true;
        out->listed = out->access;
        out->access = LULL_UNKNOWN;
    }
    out->too_deep |= w->too_deep;
    out->unknown_node |= w->unknown_node;
    out->pins |= w->pins;
    out->may_set |= w->may_set;
    out->constants_matter |= w->constants_matter;
    if (w->denied)
        out->function = w->denied;
    else if (w->unlisted && !*out->function)
        out->function = w->unlisted;
}

static const char* locking_command(LockClauseStrength s) {
    switch (s) {
        case LCS_NONE:
            return "SELECT";
        case LCS_FORKEYSHARE:
            return "SELECT FOR KEY SHARE";
        case LCS_FORSHARE:
            return "SELECT FOR SHARE";
        case LCS_FORNOKEYUPDATE:
            return "SELECT FOR NO KEY UPDATE";
        case LCS_FORUPDATE:
            return "SELECT FOR UPDATE";
    }
    return "SELECT";
}

/* Also by its own number: pg_temp_3. */
static bool is_temporary_schema(const char* schema) {
    return schema && strncmp(schema, "pg_temp", 7) == 0;
}

static bool is_temporary(const RangeVar* r) {
    return r && (r->relpersistence == 't' || is_temporary_schema(r->schemaname));
}

static bool is_in_temporary_schema(const List* names) {
    return list_length(names) > 1 && is_temporary_schema(string_at(names, 0));
}

/* In place: the tree dies with the call. Names that come from the grammar itself are constants, but in lower
 * case already. */
static const char* lower(char* s) {
    for (char* p = s; p && *p; ++p)
        if (*p >= 'A' && *p <= 'Z') *p += 'a' - 'A';
    return s ? s : "";
}

/* What PostgreSQL calls a setting today; it still takes its old names. */
static const char* setting_name(char* s) {
    lower(s);
    if (!s) return "";
    if (same(s, "sort_mem")) return "work_mem";
    if (same(s, "vacuum_mem")) return "maintenance_work_mem";
    return s;
}

static const char* constant_text(const Node* n, struct lull_sql_statement* out) {
    if (n && nodeTag(n) == T_TypeCast) {
        if (!is_plain_cast((const TypeCast*)n)) return NULL;
        n = ((const TypeCast*)n)->arg;
    }
    if (!n || nodeTag(n) != T_A_Const || ((const A_Const*)n)->isnull) return NULL;
    const A_Const* c = (const A_Const*)n;
    switch (nodeTag(&c->val.node)) {
        case T_String:
            return c->val.sval.sval;
        case T_Float:
            return c->val.fval.fval;
        case T_Boolean:
            return c->val.boolval.boolval ? "true" : "false";
        case T_Integer:
            snprintf(out->number, sizeof out->number, "%d", c->val.ival.ival);
            return out->number;
        default:
            return NULL;
    }
}

static enum lull_sql_isolation isolation_of(const char* s) {
    if (strcasecmp(s, "read uncommitted") == 0) return LULL_READ_UNCOMMITTED;
    if (strcasecmp(s, "read committed") == 0) return LULL_READ_COMMITTED;
    if (strcasecmp(s, "repeatable read") == 0) return LULL_REPEATABLE_READ;
    if (strcasecmp(s, "serializable") == 0) return LULL_SERIALIZABLE;
    return LULL_ISOLATION_UNSPECIFIED;
}

static void transaction_modes(struct lull_sql_statement* out, const List* options) {
    for (int i = 0; i < list_length(options); ++i) {
        const DefElem* d = list_nth(options, i);
        if (same(d->defname, "transaction_isolation")) {
            const char* s = constant_text(d->arg, out);
            out->isolation = s ? isolation_of(s) : LULL_ISOLATION_UNSPECIFIED;
        } else if (same(d->defname, "transaction_read_only")) {
            out->read_only = boolean_of(d->arg);
        } else if (same(d->defname, "transaction_deferrable")) {
            out->deferrable = boolean_of(d->arg);
        }
    }
}

/* SET transaction_read_only, its RESET and its set_config() are SET TRANSACTION in other words. */
static void setting_of_transaction(struct lull_sql_statement* out, const Node* value) {
    if (same(out->name, "transaction_isolation"))
        out->isolation = isolation_of(out->value);
    else if (same(out->name, "transaction_read_only"))
        out->read_only = boolean_of(value);
    else if (same(out->name, "transaction_deferrable"))
        out->deferrable = boolean_of(value);
    else
        return;
    out->kind = LULL_SET_TRANSACTION;
}

/* With pg_temp in it what is made without a schema is temporary, and no CREATE says so. */
static void path_to_temporary(struct lull_sql_statement* out, const char* value) {
    if (value && same(out->name, "search_path") && strstr(value, "pg_temp")) out->pins = true;
}

bool lull_is_list_of_names(const char* setting) {
    static const char* const settings[] = {"search_path", "temp_tablespaces", "local_preload_libraries",
                                           "session_preload_libraries", "shared_preload_libraries",
                                           "unix_socket_directories"};
    for (size_t i = 0; i < sizeof settings / sizeof *settings; ++i)
        if (same(setting, settings[i])) return true;
    return false;
}

/* What stands behind SET as the one text that PostgreSQL makes of it (flatten_set_variable_args). Null where that
 * needs more than the text: an interval with its unit. */
static const char* flattened(struct lull_sql_statement* out, const List* args) {
    bool names = lull_is_list_of_names(out->name);
    if (list_length(args) == 1 && !names) return constant_text(list_nth(args, 0), out);
    size_t size = 1;
    for (int pass = 0; pass < 2; ++pass) {
        if (pass == 1 && !(out->list = calloc(1, size))) return NULL;
        for (int i = 0; i < list_length(args); ++i) {
            const Node* n = list_nth(args, i);
            const char* text = constant_text(n, out);
            if (!text) return NULL;
            if (names && nodeTag(&((const A_Const*)n)->val.node) == T_String) text = quote_identifier(text);
            if (pass == 0) {
                size += strlen(text) + 2;
                continue;
            }
            if (i > 0) strcat(out->list, ", ");
            strcat(out->list, text);
        }
    }
    return out->list;
}

static void classify_set(struct lull_sql_statement* out, VariableSetStmt* s) {
    out->constants_matter = true;
    out->local = s->is_local;
    switch (s->kind) {
        case VAR_RESET_ALL:
            is(out, LULL_RESET, LULL_SESSION, "RESET");
            return;
        case VAR_RESET:
            is(out, LULL_RESET, LULL_SESSION, "RESET");
            out->name = setting_name(s->name);
            out->to_default = true;
            setting_of_transaction(out, NULL);
            return;
        case VAR_SET_MULTI:
            is(out, LULL_SET_TRANSACTION, LULL_SESSION, "SET");
            if (same(s->name, "TRANSACTION SNAPSHOT")) {
                const char* id = constant_text(s->args ? list_nth(s->args, 0) : NULL, out);
                out->name = "transaction_snapshot";
                out->value = id ? id : "";
                return;
            }
            transaction_modes(out, s->args);
            if (same(s->name, "SESSION CHARACTERISTICS")) {
                out->kind = LULL_SET;
                const DefElem* first = s->args ? list_nth(s->args, 0) : NULL;
                const char* value = first ? constant_text(first->arg, out) : NULL;
                if (first && same(first->defname, "transaction_isolation"))
                    out->name = "default_transaction_isolation";
                else if (first && same(first->defname, "transaction_deferrable"))
                    out->name = "default_transaction_deferrable";
                else
                    out->name = "default_transaction_read_only";
                /* The judge of a setting sees one name: let it be the one that matters most. */
                if (out->read_only != LULL_UNSET) {
                    out->name = "default_transaction_read_only";
                    value = out->read_only == LULL_ON ? "on" : "off";
                }
                out->value = value ? value : "";
            }
            return;
        case VAR_SET_VALUE:
        case VAR_SET_DEFAULT:
        case VAR_SET_CURRENT: {
            const Node* only = list_length(s->args) == 1 ? list_nth(s->args, 0) : NULL;
            is(out, LULL_SET, LULL_SESSION, "SET");
            out->name = setting_name(s->name);
            out->to_default = s->kind == VAR_SET_DEFAULT;
            const char* value = out->to_default ? "" : s->kind == VAR_SET_CURRENT ? NULL : flattened(out, s->args);
            out->value = value ? value : "";
            out->opaque = out->pins = !value;
            setting_of_transaction(out, only);
            path_to_temporary(out, out->value);
            return;
        }
    }
}

static void named_in_cast(const struct walk* w, const Node* n) {
    if (nodeTag(n) != T_TypeCast) return;
    const List* names = ((const TypeCast*)n)->typeName->names;
    int count = list_length(names);
    w->name(w->context, LULL_NAMED_TYPE, count > 1 ? string_at(names, 0) : NULL, string_at(names, count - 1), false);
}

/* SELECT set_config(const, const, const) and nothing else is a SET. Which set_config() that is, and which text, the
 * catalog says. */
static bool classify_set_config(struct lull_sql_statement* out, const struct walk* w, const SelectStmt* s) {
    if (list_length(s->targetList) != 1 || s->distinctClause || s->intoClause || s->fromClause ||
        s->whereClause || s->groupClause || s->havingClause || s->windowClause || s->valuesLists ||
        s->sortClause || s->limitOffset || s->limitCount || s->lockingClause || s->withClause ||
        s->op != SETOP_NONE)
        return false;
    const ResTarget* target = list_nth(s->targetList, 0);
    if (nodeTag(target) != T_ResTarget || !target->val || nodeTag(target->val) != T_FuncCall) return false;
    const FuncCall* f = (const FuncCall*)target->val;
    int n = list_length(f->funcname);
    const char* schema = n > 1 ? string_at(f->funcname, n - 2) : NULL;
    if (w->lookup(w->context, schema, string_at(f->funcname, n - 1)) != LULL_FUNCTION_SET_CONFIG ||
        list_length(f->args) != 3 || f->agg_order || f->agg_filter || f->over || f->agg_star ||
        f->agg_distinct || f->func_variadic)
        return false;
    const Node* name = list_nth(f->args, 0);
    const Node* value = list_nth(f->args, 1);
    const char* name_text = constant_text(name, out);
    enum lull_sql_option local = boolean_of(list_nth(f->args, 2));
    bool resets = nodeTag(value) == T_A_Const && ((const A_Const*)value)->isnull;
    if (!name_text || name_text == out->number || local == LULL_UNSET) return false;
    const char* value_text = resets ? "" : constant_text(value, out);
    if (!value_text) return false;
    is(out, LULL_SET, LULL_SESSION, "SELECT");
    out->by_query = true;
    w->name(w->context, LULL_NAMED_FUNCTION, schema, string_at(f->funcname, n - 1), false);
    for (int i = 0; i < 3; ++i) named_in_cast(w, list_nth(f->args, i));
    out->constants_matter = true;
    out->local = local == LULL_ON;
    out->to_default = resets;
    out->value = value_text;
    out->name = setting_name((char*)name_text);
    setting_of_transaction(out, value);
    path_to_temporary(out, value_text);
    return true;
}

static void classify_transaction(struct lull_sql_statement* out, const TransactionStmt* s) {
    out->constants_matter = true;
    out->chain = s->chain;
    out->name = s->savepoint_name ? s->savepoint_name : s->gid ? s->gid : "";
    switch (s->kind) {
        case TRANS_STMT_BEGIN:
            is(out, LULL_BEGIN, LULL_SESSION, "BEGIN");
            transaction_modes(out, s->options);
            break;
        case TRANS_STMT_START:
            is(out, LULL_BEGIN, LULL_SESSION, "START TRANSACTION");
            transaction_modes(out, s->options);
            break;
        case TRANS_STMT_COMMIT:
            is(out, LULL_COMMIT, LULL_SESSION, "COMMIT");
            break;
        case TRANS_STMT_ROLLBACK:
            is(out, LULL_ROLLBACK, LULL_SESSION, "ROLLBACK");
            break;
        case TRANS_STMT_SAVEPOINT:
            is(out, LULL_SAVEPOINT, LULL_SESSION, "SAVEPOINT");
            break;
        case TRANS_STMT_RELEASE:
            is(out, LULL_RELEASE, LULL_SESSION, "RELEASE");
            break;
        case TRANS_STMT_ROLLBACK_TO:
            is(out, LULL_ROLLBACK_TO, LULL_SESSION, "ROLLBACK");
            break;
        case TRANS_STMT_PREPARE:
            is(out, LULL_PREPARE_TRANSACTION, LULL_WRITE, "PREPARE TRANSACTION");
            break;
        case TRANS_STMT_COMMIT_PREPARED:
            is(out, LULL_PREPARE_TRANSACTION, LULL_WRITE, "COMMIT PREPARED");
            break;
        case TRANS_STMT_ROLLBACK_PREPARED:
            is(out, LULL_PREPARE_TRANSACTION, LULL_WRITE, "ROLLBACK PREPARED");
            break;
    }
}

/* In command tags. An attribute is its type, a column its table. */
static const char* object_word(ObjectType t) {
    static const char* const words[] = {
        [OBJECT_ACCESS_METHOD] = "ACCESS METHOD",
        [OBJECT_AGGREGATE] = "AGGREGATE",
        [OBJECT_ATTRIBUTE] = "TYPE",
        [OBJECT_TYPE] = "TYPE",
        [OBJECT_CAST] = "CAST",
        [OBJECT_COLLATION] = "COLLATION",
        [OBJECT_CONVERSION] = "CONVERSION",
        [OBJECT_DATABASE] = "DATABASE",
        [OBJECT_DOMAIN] = "DOMAIN",
        [OBJECT_DOMCONSTRAINT] = "DOMAIN",
        [OBJECT_EVENT_TRIGGER] = "EVENT TRIGGER",
        [OBJECT_EXTENSION] = "EXTENSION",
        [OBJECT_FDW] = "FOREIGN DATA WRAPPER",
        [OBJECT_FOREIGN_SERVER] = "SERVER",
        [OBJECT_FOREIGN_TABLE] = "FOREIGN TABLE",
        [OBJECT_FUNCTION] = "FUNCTION",
        [OBJECT_INDEX] = "INDEX",
        [OBJECT_LANGUAGE] = "LANGUAGE",
        [OBJECT_LARGEOBJECT] = "LARGE OBJECT",
        [OBJECT_MATVIEW] = "MATERIALIZED VIEW",
        [OBJECT_OPCLASS] = "OPERATOR CLASS",
        [OBJECT_OPERATOR] = "OPERATOR",
        [OBJECT_OPFAMILY] = "OPERATOR FAMILY",
        [OBJECT_POLICY] = "POLICY",
        [OBJECT_PROCEDURE] = "PROCEDURE",
        [OBJECT_PUBLICATION] = "PUBLICATION",
        [OBJECT_ROLE] = "ROLE",
        [OBJECT_ROUTINE] = "ROUTINE",
        [OBJECT_RULE] = "RULE",
        [OBJECT_SCHEMA] = "SCHEMA",
        [OBJECT_SEQUENCE] = "SEQUENCE",
        [OBJECT_SUBSCRIPTION] = "SUBSCRIPTION",
        [OBJECT_STATISTIC_EXT] = "STATISTICS",
        [OBJECT_COLUMN] = "TABLE",
        [OBJECT_TABLE] = "TABLE",
        [OBJECT_TABCONSTRAINT] = "TABLE",
        [OBJECT_TABLESPACE] = "TABLESPACE",
        [OBJECT_TRANSFORM] = "TRANSFORM",
        [OBJECT_TRIGGER] = "TRIGGER",
        [OBJECT_TSCONFIGURATION] = "TEXT SEARCH CONFIGURATION",
        [OBJECT_TSDICTIONARY] = "TEXT SEARCH DICTIONARY",
        [OBJECT_TSPARSER] = "TEXT SEARCH PARSER",
        [OBJECT_TSTEMPLATE] = "TEXT SEARCH TEMPLATE",
        [OBJECT_VIEW] = "VIEW",
    };
    return (size_t)t < sizeof words / sizeof *words && words[t] ? words[t] : "???";
}

static void ddl(struct lull_sql_statement* out, const char* verb, const char* object) {
    is(out, LULL_DDL, LULL_WRITE, "");
    set_command(out, verb, object);
}

/* Commands whose tag depends on what they hold. False: not one of these. */
static bool classify_ddl_by_object(struct lull_sql_statement* out, const Node* n) {
    switch (nodeTag(n)) {
        case T_AlterTableStmt:
            ddl(out, "ALTER", object_word(((const AlterTableStmt*)n)->objtype));
            return true;
        case T_AlterTableMoveAllStmt:
            ddl(out, "ALTER", object_word(((const AlterTableMoveAllStmt*)n)->objtype));
            return true;
        case T_AlterFunctionStmt:
            ddl(out, "ALTER", object_word(((const AlterFunctionStmt*)n)->objtype));
            return true;
        case T_AlterObjectDependsStmt:
            ddl(out, "ALTER", object_word(((const AlterObjectDependsStmt*)n)->objectType));
            return true;
        case T_AlterObjectSchemaStmt:
            ddl(out, "ALTER", object_word(((const AlterObjectSchemaStmt*)n)->objectType));
            return true;
        case T_AlterOwnerStmt:
            ddl(out, "ALTER", object_word(((const AlterOwnerStmt*)n)->objectType));
            return true;
        case T_RenameStmt: {
            const RenameStmt* s = (const RenameStmt*)n;
            ddl(out, "ALTER", object_word(s->renameType == OBJECT_COLUMN ? s->relationType : s->renameType));
            return true;
        }
        case T_DropStmt:
            ddl(out, "DROP", object_word(((const DropStmt*)n)->removeType));
            return true;
        case T_DefineStmt:
            ddl(out, "CREATE", object_word(((const DefineStmt*)n)->kind));
            out->pins = is_in_temporary_schema(((const DefineStmt*)n)->defnames);
            return true;
        case T_CreateStmt:
            ddl(out, "CREATE", "TABLE");
            out->pins = is_temporary(((const CreateStmt*)n)->relation);
            return true;
        case T_CreateForeignTableStmt:
            ddl(out, "CREATE", "FOREIGN TABLE");
            out->pins = is_temporary(((const CreateForeignTableStmt*)n)->base.relation);
            return true;
        case T_CreateTableAsStmt: {
            const CreateTableAsStmt* s = (const CreateTableAsStmt*)n;
            ddl(out, "CREATE", s->objtype == OBJECT_MATVIEW ? "MATERIALIZED VIEW" : "TABLE AS");
            out->pins = s->into && is_temporary(s->into->rel);
            return true;
        }
        case T_CreateSeqStmt:
            ddl(out, "CREATE", "SEQUENCE");
            out->pins = is_temporary(((const CreateSeqStmt*)n)->sequence);
            return true;
        case T_ViewStmt:
            ddl(out, "CREATE", "VIEW");
            out->pins = is_temporary(((const ViewStmt*)n)->view);
            return true;
        case T_CreateFunctionStmt: {
            const CreateFunctionStmt* s = (const CreateFunctionStmt*)n;
            ddl(out, "CREATE", s->is_procedure ? "PROCEDURE" : "FUNCTION");
            out->pins = is_in_temporary_schema(s->funcname);
            return true;
        }
        case T_GrantStmt:
            ddl(out, ((const GrantStmt*)n)->is_grant ? "GRANT" : "REVOKE", "");
            return true;
        case T_GrantRoleStmt:
            ddl(out, ((const GrantRoleStmt*)n)->is_grant ? "GRANT" : "REVOKE", "ROLE");
            return true;
        case T_CompositeTypeStmt:
            ddl(out, "CREATE", "TYPE");
            out->pins = is_temporary(((const CompositeTypeStmt*)n)->typevar);
            return true;
        default:
            return false;
    }
}

/* What these make goes with the session. */
static bool makes_temporary(const Node* n) {
    switch (nodeTag(n)) {
        case T_CreateDomainStmt:
            return is_in_temporary_schema(((const CreateDomainStmt*)n)->domainname);
        case T_CreateEnumStmt:
            return is_in_temporary_schema(((const CreateEnumStmt*)n)->typeName);
        case T_CreateRangeStmt:
            return is_in_temporary_schema(((const CreateRangeStmt*)n)->typeName);
        case T_CreateConversionStmt:
            return is_in_temporary_schema(((const CreateConversionStmt*)n)->conversion_name);
        case T_CreateOpClassStmt:
            return is_in_temporary_schema(((const CreateOpClassStmt*)n)->opclassname);
        case T_CreateOpFamilyStmt:
            return is_in_temporary_schema(((const CreateOpFamilyStmt*)n)->opfamilyname);
        case T_CreateStatsStmt:
            return is_in_temporary_schema(((const CreateStatsStmt*)n)->defnames);
        case T_ImportForeignSchemaStmt:
            return is_temporary_schema(((const ImportForeignSchemaStmt*)n)->local_schema);
        default:
            return false;
    }
}

/* Commands with one tag. False: not one of these. */
static bool classify_ddl(struct lull_sql_statement* out, const Node* n) {
    static const struct {
        NodeTag tag;
        const char* command;
    } commands[] = {
        {T_AlterCollationStmt, "ALTER COLLATION"},
        {T_AlterDatabaseRefreshCollStmt, "ALTER DATABASE"},
        {T_AlterDatabaseSetStmt, "ALTER DATABASE"},
        {T_AlterDatabaseStmt, "ALTER DATABASE"},
        {T_AlterDefaultPrivilegesStmt, "ALTER DEFAULT PRIVILEGES"},
        {T_AlterDomainStmt, "ALTER DOMAIN"},
        {T_AlterEnumStmt, "ALTER TYPE"},
        {T_AlterEventTrigStmt, "ALTER EVENT TRIGGER"},
        {T_AlterExtensionContentsStmt, "ALTER EXTENSION"},
        {T_AlterExtensionStmt, "ALTER EXTENSION"},
        {T_AlterFdwStmt, "ALTER FOREIGN DATA WRAPPER"},
        {T_AlterForeignServerStmt, "ALTER SERVER"},
        {T_AlterOpFamilyStmt, "ALTER OPERATOR FAMILY"},
        {T_AlterOperatorStmt, "ALTER OPERATOR"},
        {T_AlterPolicyStmt, "ALTER POLICY"},
        {T_AlterPublicationStmt, "ALTER PUBLICATION"},
        {T_AlterRoleSetStmt, "ALTER ROLE"},
        {T_AlterRoleStmt, "ALTER ROLE"},
        {T_AlterSeqStmt, "ALTER SEQUENCE"},
        {T_AlterStatsStmt, "ALTER STATISTICS"},
        {T_AlterSubscriptionStmt, "ALTER SUBSCRIPTION"},
        {T_AlterSystemStmt, "ALTER SYSTEM"},
        {T_AlterTSConfigurationStmt, "ALTER TEXT SEARCH CONFIGURATION"},
        {T_AlterTSDictionaryStmt, "ALTER TEXT SEARCH DICTIONARY"},
        {T_AlterTableSpaceOptionsStmt, "ALTER TABLESPACE"},
        {T_AlterTypeStmt, "ALTER TYPE"},
        {T_AlterUserMappingStmt, "ALTER USER MAPPING"},
        {T_CommentStmt, "COMMENT"},
        {T_CreateAmStmt, "CREATE ACCESS METHOD"},
        {T_CreateCastStmt, "CREATE CAST"},
        {T_CreateConversionStmt, "CREATE CONVERSION"},
        {T_CreateDomainStmt, "CREATE DOMAIN"},
        {T_CreateEnumStmt, "CREATE TYPE"},
        {T_CreateEventTrigStmt, "CREATE EVENT TRIGGER"},
        {T_CreateExtensionStmt, "CREATE EXTENSION"},
        {T_CreateFdwStmt, "CREATE FOREIGN DATA WRAPPER"},
        {T_CreateForeignServerStmt, "CREATE SERVER"},
        {T_CreateOpClassStmt, "CREATE OPERATOR CLASS"},
        {T_CreateOpFamilyStmt, "CREATE OPERATOR FAMILY"},
        {T_CreatePLangStmt, "CREATE LANGUAGE"},
        {T_CreatePolicyStmt, "CREATE POLICY"},
        {T_CreatePublicationStmt, "CREATE PUBLICATION"},
        {T_CreateRangeStmt, "CREATE TYPE"},
        {T_CreateRoleStmt, "CREATE ROLE"},
        {T_CreateSchemaStmt, "CREATE SCHEMA"},
        {T_CreateStatsStmt, "CREATE STATISTICS"},
        {T_CreateSubscriptionStmt, "CREATE SUBSCRIPTION"},
        {T_CreateTableSpaceStmt, "CREATE TABLESPACE"},
        {T_CreateTransformStmt, "CREATE TRANSFORM"},
        {T_CreateTrigStmt, "CREATE TRIGGER"},
        {T_CreateUserMappingStmt, "CREATE USER MAPPING"},
        {T_CreatedbStmt, "CREATE DATABASE"},
        {T_DropOwnedStmt, "DROP OWNED"},
        {T_DropRoleStmt, "DROP ROLE"},
        {T_DropSubscriptionStmt, "DROP SUBSCRIPTION"},
        {T_DropTableSpaceStmt, "DROP TABLESPACE"},
        {T_DropUserMappingStmt, "DROP USER MAPPING"},
        {T_DropdbStmt, "DROP DATABASE"},
        {T_ImportForeignSchemaStmt, "IMPORT FOREIGN SCHEMA"},
        {T_IndexStmt, "CREATE INDEX"},
        {T_ReassignOwnedStmt, "REASSIGN OWNED"},
        {T_RuleStmt, "CREATE RULE"},
        {T_SecLabelStmt, "SECURITY LABEL"},
    };
    for (size_t i = 0; i < sizeof commands / sizeof *commands; ++i) {
        if (commands[i].tag == nodeTag(n)) {
            ddl(out, commands[i].command, "");
            out->pins = makes_temporary(n);
            return true;
        }
    }
    return false;
}

static void classify_discard(struct lull_sql_statement* out, const DiscardStmt* s) {
    switch (s->target) {
        case DISCARD_ALL:
            is(out, LULL_DISCARD, LULL_SESSION, "DISCARD ALL");
            out->name = "ALL";
            break;
        case DISCARD_PLANS:
            is(out, LULL_DISCARD, LULL_SESSION, "DISCARD PLANS");
            out->name = "PLANS";
            break;
        case DISCARD_SEQUENCES:
            is(out, LULL_DISCARD, LULL_SESSION, "DISCARD SEQUENCES");
            out->name = "SEQUENCES";
            break;
        case DISCARD_TEMP:
            is(out, LULL_DISCARD, LULL_SESSION, "DISCARD TEMP");
            out->name = "TEMP";
            break;
    }
}

/* Maintenance, locks and the rest that is neither schema nor query. False: not one of these. */
static bool classify_utility(struct lull_sql_statement* out, const Node* n) {
    switch (nodeTag(n)) {
        case T_TruncateStmt:
            is(out, LULL_UTILITY, LULL_WRITE, "TRUNCATE TABLE");
            return true;
        case T_VacuumStmt:
            is(out, LULL_UTILITY, LULL_WRITE, ((const VacuumStmt*)n)->is_vacuumcmd ? "VACUUM" : "ANALYZE");
            return true;
        case T_ClusterStmt:
            is(out, LULL_UTILITY, LULL_WRITE, "CLUSTER");
            return true;
        case T_ReindexStmt:
            is(out, LULL_UTILITY, LULL_WRITE, "REINDEX");
            return true;
        case T_RefreshMatViewStmt:
            is(out, LULL_UTILITY, LULL_WRITE, "REFRESH MATERIALIZED VIEW");
            return true;
        case T_CheckPointStmt:
            is(out, LULL_UTILITY, LULL_WRITE, "CHECKPOINT");
            return true;
        case T_LockStmt:
            is(out, LULL_UTILITY, LULL_WRITE, "LOCK TABLE");
            return true;
        case T_DoStmt:
            is(out, LULL_UTILITY, LULL_WRITE, "DO");
            return true;
        case T_LoadStmt:
            is(out, LULL_UTILITY, LULL_WRITE, "LOAD");
            out->pins = true;
            return true;
        case T_ConstraintsSetStmt:
            is(out, LULL_UTILITY, LULL_SESSION, "SET CONSTRAINTS");
            return true;
        case T_NotifyStmt:
            is(out, LULL_NOTIFY, LULL_WRITE, "NOTIFY");
            out->name = ((const NotifyStmt*)n)->conditionname;
            return true;
        case T_ListenStmt:
            is(out, LULL_LISTEN, LULL_SESSION, "LISTEN");
            out->name = ((const ListenStmt*)n)->conditionname;
            out->pins = true;
            return true;
        case T_UnlistenStmt: {
            const char* channel = ((const UnlistenStmt*)n)->conditionname;
            is(out, LULL_UNLISTEN, LULL_SESSION, "UNLISTEN");
            out->name = channel ? channel : "";
            return true;
        }
        case T_VariableShowStmt:
            is(out, LULL_SHOW, LULL_READ, "SHOW");
            out->name = setting_name(((const VariableShowStmt*)n)->name);
            return true;
        case T_FetchStmt:
            is(out, LULL_FETCH, LULL_SESSION, ((const FetchStmt*)n)->ismove ? "MOVE" : "FETCH");
            out->name = ((const FetchStmt*)n)->portalname;
            return true;
        case T_ClosePortalStmt: {
            const char* portal = ((const ClosePortalStmt*)n)->portalname;
            is(out, LULL_CLOSE_CURSOR, LULL_SESSION, portal ? "CLOSE CURSOR" : "CLOSE CURSOR ALL");
            out->name = portal ? portal : "";
            return true;
        }
        case T_DeallocateStmt: {
            const char* name = ((const DeallocateStmt*)n)->name;
            is(out, LULL_DEALLOCATE, LULL_SESSION, name ? "DEALLOCATE" : "DEALLOCATE ALL");
            out->name = name ? name : "";
            return true;
        }
        case T_DiscardStmt:
            classify_discard(out, (const DiscardStmt*)n);
            return true;
        default:
            return false;
    }
}

static void classify(struct lull_sql_statement* out, const struct walk* fresh, Node* n);

static void classify_select(struct lull_sql_statement* out, struct walk* w, const SelectStmt* s) {
    /* INTO is always in the leftmost branch: SELECT 1 INTO t UNION SELECT 2. */
    const SelectStmt* leftmost = s;
    while (leftmost->op != SETOP_NONE && leftmost->larg) leftmost = leftmost->larg;
    walk(w, s);
    is(out, LULL_SELECT, LULL_READ, "SELECT");
    if (leftmost->intoClause) {
        is(out, LULL_DML, LULL_WRITE, "SELECT INTO");
        out->pins = is_temporary(leftmost->intoClause->rel);
    } else if (w->locking != LCS_NONE || w->writes) {
        is(out, LULL_DML, LULL_WRITE, locking_command(w->locking));
    } else if (w->denied) {
        /* As the server says it of nextval; identifiers are bounded by the parser to 63 bytes. */
        snprintf(out->command, sizeof out->command, "%s()", w->denied);
    }
    copy_findings(out, w);
}

static void classify_query(struct lull_sql_statement* out, const struct walk* fresh, const Node* n,
                           const char* command) {
    struct walk w = *fresh;
    /* Not by walk(): of w.writes only those within are wanted. */
    walk_writer(&w, n);
    is(out, LULL_DML, LULL_WRITE, command);
    copy_findings(out, &w);
    if (!w.writes && w.locking == LCS_NONE && !w.denied && !w.may_set && !w.too_deep && !w.unknown_node)
        out->beside = w.access;
}

/* Runs or only plans what is inside. */
static void classify_explain(struct lull_sql_statement* out, const struct walk* fresh, const ExplainStmt* s) {
    bool runs = false;
    for (int i = 0; i < list_length(s->options); ++i) {
        const DefElem* d = list_nth(s->options, i);
        if (same(d->defname, "analyze") && (!d->arg || boolean_of(d->arg) != LULL_OFF)) runs = true;
    }
    /* Also one that is not run is understood: constants become values of the columns' types. */
    struct walk target = *fresh;
    switch (nodeTag(s->query)) {
        case T_InsertStmt:
            check_relation(&target, ((const InsertStmt*)s->query)->relation);
            break;
        case T_UpdateStmt:
            check_relation(&target, ((const UpdateStmt*)s->query)->relation);
            break;
        case T_DeleteStmt:
            check_relation(&target, ((const DeleteStmt*)s->query)->relation);
            break;
        case T_MergeStmt:
            check_relation(&target, ((const MergeStmt*)s->query)->relation);
            break;
        default:
            break;
    }
    classify(out, fresh, s->query);
    bool reads = out->access == LULL_READ;
    if (!runs) {
        out->pins = out->may_set = false;
        /* To plan what nobody knows may call anything, which is why EXECUTE stays a write. */
        if (!reads && !out->only_unlisted && out->kind != LULL_EXECUTE) out->access = LULL_UNKNOWN;
        out->listed = LULL_READ;
    }
    if (!runs || out->kind == LULL_SELECT || out->kind == LULL_DECLARE_CURSOR || out->kind == LULL_EXECUTE)
        out->kind = LULL_EXPLAIN;
    if (!runs || reads) set_command(out, "EXPLAIN", "");
    out->constants_matter = true;
}

static void classify_copy(struct lull_sql_statement* out, const struct walk* fresh, const CopyStmt* s) {
    out->constants_matter = true;
    if (s->is_from) {
        is(out, s->filename ? LULL_UTILITY : LULL_COPY_IN, LULL_WRITE, "COPY FROM");
        if (!s->filename && !s->whereClause) out->beside = LULL_READ;
    } else if (s->filename) {
        is(out, LULL_UTILITY, LULL_WRITE, "COPY TO");
    } else if (s->query) {
        classify(out, fresh, s->query);
        out->kind = LULL_COPY_OUT;
        if (out->access == LULL_READ) set_command(out, "COPY TO", "");
    } else {
        struct walk w = *fresh;
        is(out, LULL_COPY_OUT, LULL_READ, "COPY TO");
        walk(&w, s->relation);
    }
    out->constants_matter = true;
}

/* Of the grammar's own, which nobody can shadow: TRUE is a cast to pg_catalog.bool. */
static bool is_constant(const Node* n) {
    if (nodeTag(n) == T_TypeCast) {
        const TypeCast* cast = (const TypeCast*)n;
        const List* names = cast->typeName->names;
        if (list_length(names) != 2 || !same(string_at(names, 0), "pg_catalog")) return false;
        n = cast->arg;
    }
    return nodeTag(n) == T_A_Const;
}

/* Arguments that call nothing of anybody's when they are read. */
static bool only_constants(const List* params) {
    for (int i = 0; i < list_length(params); ++i)
        if (!is_constant(list_nth(params, i))) return false;
    return true;
}

/* `fresh` is never written: it holds what a new walk starts with. A set_config() inside another statement is
 * no SET. */
static void classify(struct lull_sql_statement* out, const struct walk* fresh, Node* n) {
    switch (nodeTag(n)) {
        case T_SelectStmt: {
            struct walk w = *fresh;
            classify_select(out, &w, (const SelectStmt*)n);
            return;
        }
        case T_InsertStmt:
            classify_query(out, fresh, n, "INSERT");
            return;
        case T_UpdateStmt:
            classify_query(out, fresh, n, "UPDATE");
            return;
        case T_DeleteStmt:
            classify_query(out, fresh, n, "DELETE");
            return;
        case T_MergeStmt:
            classify_query(out, fresh, n, "MERGE");
            return;
        default:
            break;
    }
    out->constants_matter = true;
    switch (nodeTag(n)) {
        case T_ExplainStmt:
            classify_explain(out, fresh, (const ExplainStmt*)n);
            return;
        case T_CopyStmt:
            classify_copy(out, fresh, (const CopyStmt*)n);
            return;
        case T_TransactionStmt:
            classify_transaction(out, (const TransactionStmt*)n);
            return;
        case T_VariableSetStmt:
            classify_set(out, (VariableSetStmt*)n);
            return;
        case T_PrepareStmt: {
            struct walk types = *fresh;
            classify(out, fresh, ((const PrepareStmt*)n)->query);
            walk(&types, ((const PrepareStmt*)n)->argtypes); /* EXECUTE reads its values as these do */
            out->value = (out->only_unlisted ? out->listed : out->access) == LULL_READ ? "read" : "";
            if (out->access <= LULL_SESSION) set_command(out, "PREPARE", "");
            raise_to(&out->access, LULL_SESSION);
            raise_to(&out->listed, LULL_SESSION);
            out->kind = LULL_PREPARE;
            out->name = ((const PrepareStmt*)n)->name;
            out->constants_matter = true;
            return;
        }
        case T_ExecuteStmt: {
            struct walk w = *fresh;
            /* What was prepared is not known here: it may call what no rollback undoes. */
            is(out, LULL_EXECUTE, LULL_WRITE, "EXECUTE");
            out->name = ((const ExecuteStmt*)n)->name;
            out->value = only_constants(((const ExecuteStmt*)n)->params) ? "constants" : "";
            walk(&w, ((const ExecuteStmt*)n)->params);
            if (w.denied) {
                out->access = LULL_WRITE;
                snprintf(out->command, sizeof out->command, "%s()", w.denied);
            }
            copy_findings(out, &w);
            return;
        }
        case T_DeclareCursorStmt: {
            const DeclareCursorStmt* s = (const DeclareCursorStmt*)n;
            classify(out, fresh, s->query);
            if (out->access <= LULL_SESSION) set_command(out, "DECLARE CURSOR", "");
            out->kind = LULL_DECLARE_CURSOR;
            out->name = s->portalname;
            out->pins |= (s->options & CURSOR_OPT_HOLD) != 0;
            out->constants_matter = true;
            return;
        }
        case T_CallStmt: {
            struct walk w = *fresh;
            is(out, LULL_UTILITY, LULL_WRITE, "CALL");
            walk(&w, ((const CallStmt*)n)->funccall);
            out->pins = w.pins;
            out->may_set = w.may_set;
            return;
        }
        case T_CreateTableAsStmt: {
            /* What it runs may leave locks and settings behind, as any query. */
            struct walk w = *fresh;
            const Node* query = ((const CreateTableAsStmt*)n)->query;
            classify_ddl_by_object(out, n);
            if (nodeTag(query) != T_ExecuteStmt)
                walk(&w, query);
            else
                out->name = ((const ExecuteStmt*)query)->name;
            copy_findings(out, &w);
            return;
        }
        default:
            break;
    }
    if (classify_utility(out, n) || classify_ddl_by_object(out, n) || classify_ddl(out, n)) return;
    is(out, LULL_UNKNOWN_KIND, LULL_UNKNOWN, "");
    out->unknown_node = true;
}

bool lull_sql_classify(const char* text, int max_depth, lull_sql_lookup lookup, lull_sql_name name,
                       lull_sql_sink sink, void* context) {
    struct walk fresh = {0};
    fresh.max_depth = max_depth;
    fresh.lookup = lookup;
    fresh.name = name;
    fresh.context = context;
    fresh.locking = LCS_NONE;

    MemoryContext arena = pg_query_enter_memory_context();
    PgQueryInternalParsetreeAndError parsed = pg_query_raw_parse(text);
    bool ok = parsed.error == NULL;
    if (ok) {
        for (int i = 0; i < list_length(parsed.tree); ++i) {
            const RawStmt* raw = list_nth(parsed.tree, i);
            struct lull_sql_statement out = {0};
            out.read_only = out.deferrable = LULL_UNSET;
            out.name = out.value = out.function = "";
            out.beside = LULL_WRITE;
            out.offset = raw->stmt_location;
            out.length = raw->stmt_len;
            if (nodeTag(raw->stmt) != T_SelectStmt ||
                !classify_set_config(&out, &fresh, (const SelectStmt*)raw->stmt))
                classify(&out, &fresh, raw->stmt);
            sink(context, &out);
            free(out.list);
        }
    } else {
        pg_query_free_error(parsed.error);
    }
    free(parsed.stderr_buffer);
    pg_query_exit_memory_context(arena);
    return ok;
}
