// What the control thread knows of servers: one thread a server with a libpq connection of its own, as the
// cluster's control role. It looks at the server each interval, carries out orders in between, and posts what
// came of them to the control thread. Blocking calls, each with a time-out: a server that hangs costs its own
// thread only.
#pragma once

#include "config/model.hpp"
#include "routing/lsn.hpp"
#include "routing/maintenance.hpp"
#include "routing/snapshot.hpp"
#include "routing/window_proof.hpp"

#include <boost/asio/io_context.hpp>

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

struct pg_conn;  // libpq's PGconn

namespace lull {

/// One look at a server.
struct server_look {
    routing::instant asked;  // before the question went out
    bool reached = false;
    bool in_recovery = false;
    std::string error;           // why it was not reached
    routing::lsn inserted{};     // primary; without_page_header()
    routing::lsn flushed{};      // primary
    routing::lsn replayed{};     // standby
    std::optional<bool> paused;  // standby; nothing: not known
    std::string lacks;           // a right without which nothing can be sealed, or this replica not frozen
    std::string grant;           // ... and the statement that gives it
    friend bool operator==(server_look const&, server_look const&) = default;
};

/// What one wants to know of a primary.
struct primary_question {
    std::vector<std::string> databases;
    routing::instant asked;  // `ours` and `migration` are those of then
    /// With it: who of Lull's own address began before that long ago and may still write.
    std::optional<std::chrono::milliseconds> older_than;
    std::vector<routing::broken_session> broken;
    routing::effect::session_end end_broken = routing::effect::session_end::no;
    std::vector<std::uint32_t> ours;  // backends that are Lull's connections: no outsiders
    std::vector<std::uint32_t> migration;  // of these, the migration's
    bool nudge = false;               // have the log flushed
};

struct order_failure {
    std::string error;
    std::string fix;
    bool rights = false;
};

class probe {
  public:
    using on_look = std::function<void(server_look const&)>;
    using primary_answer = std::variant<routing::event::primary_seen, order_failure>;
    using replica_answer = std::variant<routing::event::replica_seen, order_failure>;

    /// How often, and what of it is told.
    struct pace {
        config::milliseconds interval;
        config::milliseconds calm;    // where the server was reached
        bool only_what_is_new = false;  // nobody wants to know when a look found the same as the one before
    };
    /// Without a control role it only tries to connect. Callbacks run on `io`'s thread, and not after stop().
    probe(boost::asio::io_context& io, config::endpoint where, std::optional<config::login_role> role,
          config::server_tls tls, pace how_often, on_look look);
    ~probe();

    /// Look at once.
    void hurry();
    /// Positions of the log, who else writes, and who still does though its connection is lost.
    void ask_primary(primary_question question, std::function<void(primary_answer)> then);
    void ask_replica(routing::replica_order order, std::function<void(replica_answer)> then);
    /// What became of the transactions of a window.
    void ask_window(std::vector<std::string> databases, routing::window_facts facts,
                    std::function<void(routing::window_evidence)> then);

  private:
    using job = std::function<void()>;
    void run();
    void post_job(job j);
    bool connect(std::string& error);
    /// Whether it was reached.
    bool look_now();
    void tell(server_look look);
    primary_answer do_primary(primary_question const& question);
    std::string look_for_broken(primary_question const& question, routing::event::primary_seen& seen);
    std::string look_for_leftovers(primary_question const& question, routing::event::primary_seen& seen);
    std::string look_for_outsiders(primary_question const& question, routing::event::primary_seen& seen);
    /// Which server this is and which history of it; empty: it does not say.
    std::string server_identity();
    std::string look_for_xids(primary_question const& question, routing::event::primary_seen& seen);
    routing::window_evidence do_window(std::vector<std::string> const& databases,
                                       routing::window_facts const& facts);
    replica_answer do_replica(routing::replica_order order);
    order_failure failure(std::string const& what);
    void disconnect();

    boost::asio::io_context& io_;
    config::endpoint const where_;
    std::optional<config::login_role> const role_;
    config::server_tls const tls_;
    pace const pace_;
    on_look const look_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // on the control thread

    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<job> jobs_;
    bool hurry_ = false;
    bool stop_ = false;

    // The probe's thread only.
    pg_conn* connection_ = nullptr;
    std::uint64_t segment_bytes_ = 16 * 1024 * 1024;
    std::optional<server_look> told_;  // the last, but for when it was asked
    std::set<std::string> settled_;  // began before this process, and is nothing that the one before left
    std::thread thread_;
};

}  // namespace lull
