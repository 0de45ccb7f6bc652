/* A second, smaller question to the parser: which tables does this text write to, and how many rows does an
 * INSERT bring? Asked only for writes that a site's rules have to tell apart while it is sealed. As
 * sql_walk.h.
 */
#pragma once

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

struct lull_sql_target {
    bool tables_known; /* the sink was given every table that the text names as written */
    /* One INSERT of VALUES, UPDATE or DELETE, without RETURNING, WITH and WHERE CURRENT OF. */
    bool autonomous;
    char verb; /* of that: 'I', 'U', 'D' */
    int rows;  /* of that INSERT */
};

/* schema is null where the name was not qualified. */
typedef void (*lull_sql_table_sink)(void* context, const char* schema, const char* name);

/* False when the text does not parse. It must have passed the guard of sql_normalizer.hpp. */
bool lull_sql_find_target(const char* text, lull_sql_table_sink sink, void* context,
                          struct lull_sql_target* out);

#ifdef __cplusplus
}
#endif
