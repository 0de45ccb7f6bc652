// Pieces of SQL over pg_stat_activity a, for those who look at sessions.
#pragma once

/// How one session is told of.
#define LULL_SESSION                                                                        \
    "format('pid %s %s@%s %s, %s since %s: %s', a.pid, a.usename, a.datname,"               \
    " coalesce(nullif(a.application_name, ''), '-'), coalesce(a.state, a.backend_type),"    \
    " to_char(coalesce(a.xact_start, a.state_change, a.backend_start) AT TIME ZONE 'UTC', " \
    "'HH24:MI:SS\"Z\"'),"                                                                   \
    " left(a.query, 80))"

/// From where Lull is: one host has several names for itself.
#define LULL_HERE                                                                   \
    " (a.client_addr IS NOT DISTINCT FROM inet_client_addr()"                       \
    " OR coalesce((a.client_addr <<= '127.0.0.0/8' OR host(a.client_addr) = '::1')" \
    " AND (inet_client_addr() <<= '127.0.0.0/8' OR host(inet_client_addr()) = '::1'), false))"
