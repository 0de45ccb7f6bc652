#include "routing/about_server.hpp"

#include <algorithm>
#include <iterator>

namespace lull::routing {
namespace {

constexpr std::string_view functions[] = {
    "inet_server_addr",
    "inet_server_port",
    "pg_backend_pid",
    "pg_blocking_pids",
    "pg_conf_load_time",
    "pg_get_replication_slots",
    "pg_get_shmem_allocations",
    "pg_get_wal_replay_pause_state",
    "pg_is_in_recovery",
    "pg_is_wal_replay_paused",
    "pg_lock_status",
    "pg_notification_queue_usage",
    "pg_postmaster_start_time",
    "pg_prepared_xact",
    "pg_safe_snapshot_blocking_pids",
    "pg_sequence_last_value",
    "pg_show_all_settings",
    "pg_show_replication_origin_status",
};
static_assert(std::ranges::is_sorted(functions));

// (pg_current_wal_* and pg_walfile_* are on no list, so that they go to the primary as what nobody knows.)
constexpr std::string_view function_prefixes[] = {"pg_control_", "pg_last_", "pg_stat_get_", "pg_stat_have_"};

constexpr std::string_view relations[] = {
    "pg_aios",
    "pg_locks",
    "pg_prepared_xacts",
    "pg_replication_origin_status",
    "pg_replication_slots",
    "pg_sequences",
    "pg_settings",
    "pg_shmem_allocations",
};
static_assert(std::ranges::is_sorted(relations));

// Not pg_stats and pg_statistic: what ANALYZE has found is part of the data.
constexpr std::string_view relation_prefixes[] = {"pg_stat_", "pg_statio_"};

constexpr std::string_view settings[] = {
    "all",
    "cluster_name",
    "config_file",
    "data_directory",
    "hba_file",
    "ident_file",
    "in_hot_standby",
    "listen_addresses",
    "port",
    "primary_conninfo",
    "primary_slot_name",
    "synchronous_standby_names",
    "transaction_read_only",
    "unix_socket_directories",
};
static_assert(std::ranges::is_sorted(settings));

bool begins_with_one_of(auto const& prefixes, std::string_view name) {
    return std::ranges::any_of(prefixes, [&](std::string_view prefix) { return name.starts_with(prefix); });
}

}  // namespace

bool is_function_about_server(std::string_view name) {
    return std::ranges::binary_search(functions, name) || begins_with_one_of(function_prefixes, name);
}

bool is_relation_about_server(std::string_view name) {
    return std::ranges::binary_search(relations, name) || begins_with_one_of(relation_prefixes, name);
}

bool is_setting_about_server(std::string_view name) {
    return std::ranges::binary_search(settings, name);
}

}  // namespace lull::routing
