// What the control thread and the workers may say to each other. Both sides only post: every call returns at
// once, may be made from any thread, and is carried out later on the receiver's own thread, in order.
#pragma once

#include "proxy/console_command_core.hpp"
#include "proxy/channel_book_core.hpp"
#include "proxy/journal_entry.hpp"
#include "proxy/statement_watch.hpp"
#include "proxy/survey.hpp"
#include "proxy/write_fates.hpp"
#include "routing/maintenance_events.hpp"
#include "routing/snapshot.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace lull {

struct server_credentials;
struct tls_keyring;

enum class worker_id : std::uint16_t {};

enum class listener_kind : std::uint8_t { postgres, migration, http };

/// What the file descriptor of a listener is.
enum class socket_family : std::uint8_t { tcp, local };

/// A transaction, a statement or a request that sealing waits for.
struct writer {
    std::string protocol;  // "postgres" or "http"
    std::uint64_t client = 0;
    std::uint32_t server_pid = 0;  // PostgreSQL's backend; 0: none, or not known
    std::string database;
    std::string user;
    std::string application_name;
    std::string address;
    std::string state;      // as in pg_stat_activity: "active", "idle in transaction"
    std::string statement;  // the last one, cut to 200 bytes
    routing::wall_time since;
    friend bool operator==(writer const&, writer const&) = default;
};

struct site_load {
    routing::site_id site{};
    std::size_t clients = 0;
    std::size_t writers = 0;  // all of them
    std::size_t held = 0;
    std::size_t held_bytes = 0;
    write_fates fates;
    std::vector<writer> longest;  // at most 50, oldest first
    std::vector<std::uint32_t> server_pids;       // of its connections to the primary, the migration's too
    std::vector<std::uint32_t> migration_pids;    // of these, the migration's
    std::vector<routing::broken_session> broken;  // lost since the last report; told of once
    friend bool operator==(site_load const&, site_load const&) = default;
};

/// Sent after every snapshot that a worker took over, at once when the last writer of a site that is not
/// read_write has ended, and each tick while some site is not read_write; otherwise once a second, where it has changed.
struct worker_report {
    worker_id worker{};
    std::uint64_t snapshot_number = 0;  // the one the worker decides from
    std::vector<site_load> sites;
    friend bool operator==(worker_report const&, worker_report const&) = default;
};

enum class end_writers_how : std::uint8_t {
    cancel,     // running statements get 57014, idle transactions are rolled back; sessions live on
    terminate,  // their sessions get 57P01 and end
};

enum class pool_order : std::uint8_t {
    pause,      // servers go as they become free, and nobody gets one
    resume,
    resume_rest,  // all but what is paused by its name
    reconnect,  // servers go as they become free, and others are opened
    kill,       // sessions end, what runs is cancelled
};

struct channel_wish {
    std::string database;
    std::string channel;
    std::uint64_t ticket = 0;
};

/// The connection that listens, for those who want to see it.
struct listener_facts {
    std::uint32_t pid = 0;
    std::string user;
    bool tls = false;
    routing::wall_time connected;
};

struct channel_answer {
    std::string database;
    std::string channel;
    std::uint64_t ticket = 0;
    channel_outcome outcome = channel_outcome::unavailable;
    listener_facts listener;
};

/// A worker as the control thread sees it.
class worker_port {
  public:
    virtual ~worker_port() = default;
    virtual void publish(std::shared_ptr<routing::snapshot const>) = 0;
    virtual void end_writers(routing::site_id, end_writers_how) = 0;
    /// `answer` is called on the worker's thread; where that has ended, at once, with what it had counted.
    virtual void take_survey(survey_wish, std::function<void(worker_survey)> answer) = 0;
    /// Takes ownership of `fd`, a socket that listens, non-blocking, and accepts from it until it is told to stop, each
    /// connection for the least loaded of `workers`, which outlive it.
    virtual void listen(listener_kind, int fd, socket_family,
                        std::vector<std::unique_ptr<worker_port>> const& workers) = 0;
    /// Takes ownership of `fd`, a connected, non-blocking socket.
    virtual void adopt(listener_kind, int fd, std::string peer_address) = 0;
    /// The answer to control_port::find_secret: a password or verifier; nothing: no such user.
    virtual void secret_found(std::uint64_t request, std::optional<std::string> secret,
                              std::string error) = 0;
    /// Whole messages for the operator who asked control_port::ask_console.
    virtual void answer_console(std::uint64_t request, std::string messages, bool last) = 0;
    /// The answer to control_port::listen.
    virtual void channel_answered(channel_answer) = 0;
    /// In the order in which the server told them.
    virtual void notified(std::string database, std::vector<notification> what) = 0;
    /// The listener's connection is lost: nobody listens any more in that database.
    virtual void channels_lost(std::string database) = 0;
    /// Of a database; empty: of all.
    virtual void rule_pools(pool_order, std::string database) = 0;
    /// Sessions on it; for choosing the least loaded. Any thread.
    virtual std::size_t load() const = 0;
    /// graceful: idle sessions end now, others when their transaction does. Ends the worker's thread.
    virtual void stop(bool graceful) = 0;
    virtual void join() = 0;
};

/// The control thread as the workers see it.
class control_port {
  public:
    virtual ~control_port() = default;
    virtual void report(worker_report) = 0;
    /// Ask the cluster's auth_query for a user; answered by worker_port::secret_found.
    virtual void find_secret(worker_id, std::uint64_t request, std::string cluster, std::string user) = 0;
    /// A login has failed by what it said last: perhaps that was changed since.
    virtual void doubt_secret(std::string cluster, std::string user) = 0;
    /// An operator's command, on behalf of `user`; answered by worker_port::answer_console, perhaps in parts.
    virtual void ask_console(worker_id, std::uint64_t request, console_command, std::string user) = 0;
    /// Nobody waits for that answer any more.
    virtual void cancel_console(worker_id, std::uint64_t request) = 0;
    /// Statements worth a line in the log, and how many more there were.
    virtual void log_statements(std::vector<finished_query>, std::size_t more) = 0;
    /// Write it to the journal of its site; `then` is called on some thread. Whoever replays it logs in with
    /// `credentials`.
    virtual void keep(routing::site_id, journal_entry, server_credentials const& credentials,
                      std::function<void(journal_outcome)> then) = 0;
    /// Somebody has, and that is how a server can be told of it.
    virtual void logged_in(routing::site_id, std::string const& user, server_credentials const& credentials) = 0;
    /// The cluster's listener is to hear a channel for this worker; answered by worker_port::channel_answered. Any
    /// thread, as the next.
    virtual void listen(worker_id, std::string const& cluster, channel_wish const& wish) = 0;
    virtual void unlisten(worker_id, std::string const& cluster, std::string const& database,
                          std::string const& channel) = 0;
    /// A connection to it failed or was lost: probe it now rather than at the next interval.
    virtual void suspect(routing::backend_id) = 0;
    /// Certificates in force; the one call that does not post but answers.
    virtual std::shared_ptr<tls_keyring const> tls() = 0;
};

/// Starts a worker thread that decides from `initial` until it is told otherwise. `control` outlives it.
std::unique_ptr<worker_port> start_worker(worker_id, std::size_t workers,
                                          std::shared_ptr<routing::snapshot const> initial,
                                          control_port& control);

}  // namespace lull
