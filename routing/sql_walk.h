/* The seam to libpg_query: text in, one plain structure a statement out. Nothing of PostgreSQL's headers
 * shows here.
 *
 * sql_walk.c reads the parser's own nodes, which is some 20 times cheaper than the protobuf that libpg_query
 * offers, but is an assumption about structure layouts: sql_self_test() checks it at start-up. Any thread may
 * call; the parser's state is thread-local. Use it from a fixed set of threads, because libpg_query leaks a
 * key for each thread that ends.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* In the order of lull::routing::access and statement_kind; sql_classifier.cpp asserts it. */
enum lull_sql_access { LULL_READ, LULL_SESSION, LULL_UNKNOWN, LULL_WRITE };

enum lull_sql_kind {
    LULL_EMPTY,
    LULL_SELECT,
    LULL_EXPLAIN,
    LULL_SHOW,
    LULL_DML,
    LULL_DDL,
    LULL_UTILITY,
    LULL_COPY_IN,
    LULL_COPY_OUT,
    LULL_BEGIN,
    LULL_COMMIT,
    LULL_ROLLBACK,
    LULL_SAVEPOINT,
    LULL_RELEASE,
    LULL_ROLLBACK_TO,
    LULL_PREPARE_TRANSACTION,
    LULL_SET_TRANSACTION,
    LULL_SET,
    LULL_RESET,
    LULL_DISCARD,
    LULL_PREPARE,
    LULL_EXECUTE,
    LULL_DEALLOCATE,
    LULL_DECLARE_CURSOR,
    LULL_FETCH,
    LULL_CLOSE_CURSOR,
    LULL_LISTEN,
    LULL_UNLISTEN,
    LULL_NOTIFY,
    LULL_UNKNOWN_KIND
};

/* In the order of lull::routing::isolation. */
enum lull_sql_isolation {
    LULL_ISOLATION_UNSPECIFIED,
    LULL_READ_UNCOMMITTED,
    LULL_READ_COMMITTED,
    LULL_REPEATABLE_READ,
    LULL_SERIALIZABLE
};

/* In the order of lull::routing::function_class. */
enum lull_sql_function {
    LULL_FUNCTION_READ,
    LULL_FUNCTION_SESSION,
    LULL_FUNCTION_LOCK,
    LULL_FUNCTION_SET_CONFIG,
    LULL_FUNCTION_DENIED,
    LULL_FUNCTION_UNKNOWN
};

/* In the order of lull::routing::named. */
enum lull_sql_named {
    LULL_NAMED_FUNCTION,
    LULL_NAMED_RELATION,
    LULL_NAMED_TYPE,
    LULL_NAMED_OPERATOR,
    LULL_NAMED_ATTRIBUTE /* of something qualified: may be a call of a function (`row.f`) */
};

enum lull_sql_option { LULL_UNSET = -1, LULL_OFF = 0, LULL_ON = 1 };

struct lull_sql_statement {
    enum lull_sql_kind kind;
    enum lull_sql_access access;
    enum lull_sql_isolation isolation;
    enum lull_sql_option read_only, deferrable;
    bool chain, local, to_default, pins;
    bool by_query;         /* a SET that is a SELECT of set_config() */
    bool opaque;           /* a SET whose value cannot be told as text */
    bool may_set;          /* calls set_config() without being a SET */
    bool constants_matter; /* its class may differ for a text with other constants */
    bool too_deep;         /* given up: access is unknown */
    bool unknown_node;     /* a node that the walk does not know: access is at least unknown */
    enum lull_sql_access beside; /* of a write to one table: what all the rest of it is, apart from unlisted functions */
    bool only_unlisted;    /* access is unknown for nothing but functions that are not listed ... */
    enum lull_sql_access listed; /* ... and would be this without them */
    int32_t offset;        /* in bytes; length 0: to the end of the text */
    int32_t length;
    /* Strings live during the call of the sink; never null. */
    char command[96];
    const char* name;
    const char* value;
    const char* function; /* the first that is denied, else the first that is not listed; "" */
    char number[24];      /* backs `value` where it is an integer */
    char* list;           /* and where it was made of several; malloc, freed behind the sink */
};

/* schema is null when the call was not qualified. */
typedef enum lull_sql_function (*lull_sql_lookup)(void* context, const char* schema, const char* name);
/* What a statement names, in any order and more than once, before the sink has the statement. A relation that
 * a WITH clause around it defines is none. `unlisted`: a function for which lookup said so. */
typedef void (*lull_sql_name)(void* context, enum lull_sql_named what, const char* schema, const char* name,
                              bool unlisted);
/* Called once a statement, in order. Must not throw or call back into the parser. */
typedef void (*lull_sql_sink)(void* context, const struct lull_sql_statement* statement);

/* False when the text does not parse (or memory ran out); the sink was not called then. The text must have
 * passed the guard of sql_normalizer.hpp: some shapes cost the parser quadratic time. */
bool lull_sql_classify(const char* text, int max_depth, lull_sql_lookup lookup, lull_sql_name name,
                       lull_sql_sink sink, void* context);

/* A variable whose elements are names, and are kept quoted (GUC_LIST_QUOTE; extensions cannot have such). */
bool lull_is_list_of_names(const char* setting);

#ifdef __cplusplus
}
#endif
