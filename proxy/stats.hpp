// What one worker has counted since it started, and what it has open now: the one value that the console's
// SHOW, the metrics and `lull status` are made of. Counted in place by the worker alone, as plain numbers;
// others get a copy through its mailbox (survey.hpp). Durations come from session_context::now, so that
// counting reads no clock.
#pragma once

#include "proxy/http_stats.hpp"
#include "proxy/write_fates.hpp"
#include "routing/operation.hpp"
#include "routing/snapshot.hpp"
#include "routing/sql_classifier.hpp"

#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace lull {

/// How many durations were at most 64, 128, 256 ... microseconds.
class duration_histogram {
  public:
    static constexpr std::size_t finite = 21;  // the last at most 67 s
    static constexpr std::uint64_t bound_us(std::size_t bucket) { return std::uint64_t{64} << bucket; }

    void add(std::chrono::nanoseconds took) noexcept {
        std::uint64_t const us = took.count() < 0 ? 0 : static_cast<std::uint64_t>(took.count()) / 1000;
        std::size_t const bucket = us <= 64 ? 0 : static_cast<std::size_t>(std::bit_width(us - 1)) - 6;
        ++counts_[bucket < finite ? bucket : finite];
        sum_us_ += us;
    }
    void add(duration_histogram const& other) noexcept {
        for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
        sum_us_ += other.sum_us_;
    }

    std::uint64_t sum_us() const { return sum_us_; }
    std::uint64_t count() const {
        std::uint64_t all = 0;
        for (std::uint64_t n : counts_) all += n;
        return all;
    }
    /// In this bucket alone; `finite`: longer than all bounds.
    std::uint64_t in(std::size_t bucket) const { return counts_[bucket]; }

  private:
    std::array<std::uint64_t, finite + 1> counts_{};
    std::uint64_t sum_us_ = 0;
};

inline constexpr std::size_t access_kinds = 4;  // of routing::access
inline constexpr std::size_t role_kinds = 2;    // of routing::role

enum class time_limit : std::uint8_t {
    query_wait,
    statement,
    transaction,
    idle_in_transaction,
    idle_session,
    cancel  // of a statement that another of these had canceled: its server was left
};
inline constexpr std::size_t time_limit_kinds = 6;

/// Which limit a client was over, or that Lull was stopping.
enum class turned_away_by : std::uint8_t { stopping, clients, user, database, address, open_files, failed_logins };
inline constexpr std::size_t turned_away_kinds = 7;

/// What a session has been refused, or ended for, by another limit than one of time.
enum class session_limit : std::uint8_t { waiting_clients, notification_bytes };
inline constexpr std::size_t session_limit_kinds = 2;

struct database_stats {
    std::uint64_t transactions = 0;
    std::uint64_t queries = 0;         // answered with ReadyForQuery
    std::uint64_t bytes_received = 0;  // from clients
    std::uint64_t bytes_sent = 0;      // to them
    std::uint64_t transaction_us = 0;
    duration_histogram query;  // from its first byte, or from the server that it waited for, to ReadyForQuery
    duration_histogram wait;   // for a server connection
    /// Statements given to servers, by the server's role and by what the classifier had said.
    std::array<std::array<std::uint64_t, access_kinds>, role_kinds> executed{};
    /// Errors of servers, and of these 25006 by what the classifier had said of the statement.
    std::uint64_t errors = 0;
    std::array<std::uint64_t, access_kinds> refused_by_server{};
    write_fates writes;  // that did not run because of a site's mode
    std::array<std::uint64_t, time_limit_kinds> timeouts{};  // what they have ended
    std::array<std::uint64_t, session_limit_kinds> over_limit{};
    std::uint64_t prepared_known = 0;   // statements that were needed on a server, and there
    std::uint64_t prepared_parsed = 0;  // and that were not
    std::uint64_t notifications = 0;  // told to clients by the listener
    std::uint64_t slow = 0;  // queries of log.slow_query and longer

    void add(database_stats const& other) {
        transactions += other.transactions;
        queries += other.queries;
        bytes_received += other.bytes_received;
        bytes_sent += other.bytes_sent;
        transaction_us += other.transaction_us;
        query.add(other.query);
        wait.add(other.wait);
        for (std::size_t r = 0; r < role_kinds; ++r)
            for (std::size_t a = 0; a < access_kinds; ++a) executed[r][a] += other.executed[r][a];
        errors += other.errors;
        for (std::size_t a = 0; a < access_kinds; ++a) refused_by_server[a] += other.refused_by_server[a];
        writes += other.writes;
        for (std::size_t t = 0; t < time_limit_kinds; ++t) timeouts[t] += other.timeouts[t];
        for (std::size_t l = 0; l < session_limit_kinds; ++l) over_limit[l] += other.over_limit[l];
        prepared_known += other.prepared_known;
        prepared_parsed += other.prepared_parsed;
        notifications += other.notifications;
        slow += other.slow;
    }
};

struct backend_stats {
    std::uint64_t failures = 0;  // connections that were not made
    std::uint64_t failed_checks = 0;  // of free ones
    duration_histogram connect;  // from the first try of an address to the server's first ReadyForQuery
};

struct pg_stats {
    std::uint64_t accepted = 0;         // connections of clients
    std::array<std::uint64_t, turned_away_kinds> turned_away{};
    std::uint64_t login_timeouts = 0;
    std::uint64_t failed_passwords = 0;  // and failed SCRAM exchanges
    std::uint64_t sessions = 0;         // that logged in
    std::uint64_t without_session = 0;  // ended before: failed logins, cancel requests, health checks
    std::map<std::string, database_stats> databases;  // addresses of its values stay the same
    std::vector<backend_stats> backends;              // by backend_id

    backend_stats& of(routing::backend_id id) {
        auto const i = static_cast<std::size_t>(id);
        if (i >= backends.size()) backends.resize(i + 1);
        return backends[i];
    }
};

}  // namespace lull
