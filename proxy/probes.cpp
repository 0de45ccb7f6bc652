#include "proxy/probes.hpp"

#include "proxy/pg_query.hpp"

#include <boost/asio/post.hpp>
#include <libpq-fe.h>

namespace lull {

namespace {

// Readers wait as long as it takes to see that a server hangs.
constexpr std::chrono::milliseconds look_timeout{2000};

constexpr char const* look_sql =
    "SELECT pg_is_in_recovery(),"
    " CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_insert_lsn() END,"
    " CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_flush_lsn() END,"
    " CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() END,"
    " CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() END,"
    " pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'),"
    // Whatever arguments it has here: from version 17 on one more.
    " (SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace"
    " AND proname = 'pg_logical_emit_message' AND proargtypes[2] = 'text'::regtype"
    " AND NOT has_function_privilege(oid, 'EXECUTE') LIMIT 1),"
    " has_function_privilege('pg_wal_replay_pause()', 'EXECUTE')"
    " AND has_function_privilege('pg_wal_replay_resume()', 'EXECUTE')";

constexpr char const* freeze_functions = "pg_wal_replay_pause(), pg_wal_replay_resume()";

}  // namespace

probe::probe(boost::asio::io_context& io, config::endpoint where, std::optional<config::login_role> role,
             config::server_tls tls, pace how_often, on_look look)
    : io_(io),
      where_(std::move(where)),
      role_(std::move(role)),
      tls_(std::move(tls)),
      pace_(how_often),
      look_(std::move(look)),
      thread_([this] { run(); }) {}

probe::~probe() {
    *alive_ = false;
    {
        std::lock_guard const lock(mutex_);
        stop_ = true;
    }
    wake_.notify_all();
    thread_.join();
    disconnect();
}

void probe::hurry() {
    {
        std::lock_guard const lock(mutex_);
        hurry_ = true;
    }
    wake_.notify_all();
}

void probe::post_job(job j) {
    {
        std::lock_guard const lock(mutex_);
        jobs_.push_back(std::move(j));
    }
    wake_.notify_all();
}

void probe::run() {
    auto next = std::chrono::steady_clock::now();
    for (;;) {
        job todo;
        {
            std::unique_lock lock(mutex_);
            wake_.wait_until(lock, next, [&] { return stop_ || hurry_ || !jobs_.empty(); });
            if (stop_) return;
            hurry_ = false;
            if (!jobs_.empty()) {
                todo = std::move(jobs_.front());
                jobs_.pop_front();
            }
        }
        if (todo) {
            todo();
            continue;
        }
        config::milliseconds const pause = look_now() ? pace_.calm : pace_.interval;
        next = std::chrono::steady_clock::now() + pause;
    }
}

bool probe::connect(std::string& error) {
    if (pg_usable(connection_)) return true;
    disconnect();
    connection_ = pg_connect(where_, *role_, tls_, error);
    if (!connection_) return false;
    pg_result const size = pg_query(connection_,
                                    "SELECT setting::bigint * CASE unit WHEN 'B' THEN 1 ELSE 16777216 END"
                                    " FROM pg_settings WHERE name = 'wal_segment_size'");
    if (size.rows() == 1) segment_bytes_ = std::strtoull(size.text(0, 0).c_str(), nullptr, 10);
    return true;
}

void probe::disconnect() {
    if (connection_) pg_close(connection_);
    connection_ = nullptr;
}

bool probe::look_now() {
    server_look look;
    look.asked = std::chrono::steady_clock::now();
    if (!role_) {
        look.error = "no control role is configured for the cluster, so its servers cannot be asked";
        look.reached = can_connect(where_);
    } else if (connect(look.error)) {
        look.asked = std::chrono::steady_clock::now();
        pg_result const r = pg_query(connection_, look_sql, {}, look_timeout);
        if (r.rows() == 1) {
            look.reached = true;
            look.in_recovery = r.text(0, 0) == "t";
            look.inserted = routing::without_page_header(r.lsn(0, 1), segment_bytes_);
            look.flushed = r.lsn(0, 2);
            look.replayed = r.lsn(0, 3);
            if (!r.null(0, 4)) look.paused = r.text(0, 4) == "t";
            auto const lacks = [&](std::string what, std::string const& grant) {
                look.lacks = std::move(what);
                look.grant = grant + " TO \"" + role_->user + "\"";
            };
            if (look.in_recovery) {
                if (r.text(0, 7) != "t")
                    lacks("pause and resume its replay", std::string("GRANT EXECUTE ON FUNCTION ") + freeze_functions);
            } else if (r.text(0, 5) != "t") {
                lacks("see what others do there", "GRANT pg_monitor");
            } else if (!r.null(0, 6)) {
                lacks("have the log flushed", "GRANT EXECUTE ON FUNCTION " + r.text(0, 6));
            }
        } else {
            look.error = r.error();
            disconnect();
        }
    }
    bool const reached = look.reached;
    tell(std::move(look));
    return reached;
}

void probe::tell(server_look look) {
    server_look timeless = look;
    timeless.asked = {};
    if (pace_.only_what_is_new && told_ == timeless) return;
    told_ = std::move(timeless);
    boost::asio::post(io_, [this, alive = alive_, look = std::move(look)] {
        if (*alive) look_(look);
    });
}

order_failure probe::failure(std::string const& what) {
    order_failure f;
    f.error = what;
    return f;
}

void probe::ask_replica(routing::replica_order order, std::function<void(replica_answer)> then) {
    post_job([this, order, then = std::move(then)] {
        replica_answer answer = do_replica(order);
        boost::asio::post(io_, [alive = alive_, then, answer = std::move(answer)] {
            if (*alive) then(answer);
        });
    });
}

probe::replica_answer probe::do_replica(routing::replica_order order) {
    std::string error;
    if (!role_) return failure("no control role is configured for the cluster");
    if (!connect(error)) return failure(error);
    char const* const command = order == routing::replica_order::pause    ? "SELECT pg_wal_replay_pause()"
                                : order == routing::replica_order::resume ? "SELECT pg_wal_replay_resume()"
                                                                          : nullptr;
    if (command) {
        pg_result const r = pg_query(connection_, command);
        if (!r.ok()) {
            order_failure f = failure(r.error());
            f.rights = r.sqlstate() == "42501";
            if (f.rights)
                f.fix = "on the primary, in database " + role_->database +
                        ": GRANT EXECUTE ON FUNCTION " + freeze_functions + " TO \"" + role_->user + "\"; or set freeze: off for the site";
            return f;
        }
    }
    // The state first: a position read after "paused" is where it stands.
    pg_result const state =
        pg_query(connection_, "SELECT pg_is_in_recovery(), pg_get_wal_replay_pause_state()");
    pg_result const position = pg_query(connection_, "SELECT pg_last_wal_replay_lsn()");
    if (state.rows() != 1 || position.rows() != 1) {
        order_failure f = failure(state.ok() ? position.error() : state.error());
        if (PQstatus(connection_) != CONNECTION_OK) disconnect();
        return f;
    }
    if (state.text(0, 0) != "t") return failure("it is not a standby");
    routing::event::replica_seen seen;
    seen.replayed = position.lsn(0, 0);
    std::string const text = state.text(0, 1);
    seen.state = text == "paused"            ? routing::pause_state::paused
                 : text == "pause requested" ? routing::pause_state::pause_requested
                                             : routing::pause_state::not_paused;
    return seen;
}

}  // namespace lull
