#include "routing/moment_literal.hpp"

#include <doctest/doctest.h>

using lull::routing::has_moment_literal;

TEST_CASE("literals that are made a moment of when they are read") {
    for (char const* sql :
         {"select 'now'::timestamptz", "select date 'TODAY'", "select ' tomorrow '::date", "insert into t values ($1, 'Yesterday')",
          "select E'now'", "select $$now$$::timestamp", "select $x$\n now$x$", "select 'today 12:00'::timestamp",
          "select 'a', 'now'", "select '', 'now'", "select 'it''s', 'now'", "select 'UTC now'", "select $1, 'now'",
          "select a from t where b > 'today' and c = $1", "select daterange '[today,tomorrow)'", "select '{now}'::timestamptz[]"})
        CHECK_MESSAGE(has_moment_literal(sql), sql);
}

TEST_CASE("what is none is shared") {
    for (char const* sql :
         {"", "select 1", "select now()", "select 'a', now(), 'b'", "select now from t where today = $1", "select 'known'", "select 'now_'",
          "select 'now", "select 'nowhere', 'todays'", "select $1::text, now() - $2::interval", "select 'epoch'::timestamptz", "select 'right now!'",
          "select a from t where b = '1' and now() > c", "select $$", "select '", "select current_timestamp as now"})
        CHECK_MESSAGE(!has_moment_literal(sql), sql);
}
