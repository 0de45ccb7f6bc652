// A copy of what a worker has counted and has open, taken on the worker and read by the control thread. The
// control thread asks all workers at once and never waits for one: who has not answered in time is named, and
// only its counters are there, as they were, for they must not go back.
#pragma once

#include "proxy/stats.hpp"

#include <boost/asio/io_context.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace lull {

class worker_port;

/// What of it is wanted beside the counters.
struct survey_wish {
    bool clients = false;  // a row for each
    bool servers = false;
    bool prepared = false;
    std::size_t most = 10'000;  // rows of each kind and worker
};

/// When that was, by the clock on the wall.
routing::wall_time wall_of(routing::instant then, routing::instant now);

struct client_row {
    std::uint64_t id = 0;  // the pid of its BackendKeyData; unique in the process
    std::string user;
    std::string database;
    std::string address;
    std::string local;  // the address of Lull that it has come to
    std::string application_name;
    std::string site;
    std::uint64_t server = 0;  // server_row::id; 0: none
    std::uint32_t server_pid = 0;
    std::string state;        // active, waiting, held
    std::string transaction;  // idle, block, failed
    bool pinned = false;
    std::string pinned_by;
    bool writes = false;
    bool migration = false;
    bool tls = false;
    routing::wall_time connected;
    routing::wall_time asked;             // its last query; the same as connected: none yet
    std::chrono::microseconds waiting{};  // for a server, or held
    std::chrono::microseconds has_server{};
    std::size_t channels = 0;  // that it listens to, through the listener
    std::string statement;  // the last, cut to 200 bytes, as the client sent it
};

struct server_row {
    std::uint64_t id = 0;
    std::string user;
    std::string database;
    routing::backend_id backend{};
    std::string state;         // active, idle, login
    std::string use;           // normal, guarded, migration, listener
    std::uint64_t client = 0;  // client_row::id
    std::uint32_t pid = 0;
    std::string application_name;
    std::string local;  // the address that Lull has come from
    routing::wall_time connected;
    routing::wall_time asked;  // its client's last query, or when it last answered one
    std::size_t prepared = 0;
    bool outdated = false;  // goes when its client is done
    bool tls = false;
};

/// What a pool of PgBouncer is: a database and a user. All servers and kinds of use together.
struct pool_row {
    std::string database;
    std::string user;
    std::size_t clients_active = 0;  // all that do not wait
    std::size_t clients_waiting = 0;
    std::size_t clients_held = 0;
    std::size_t clients_pinned = 0;
    std::array<bool, 3> modes{};  // config::pool_mode that clients of it have
    std::size_t servers_active = 0;
    std::size_t servers_idle = 0;
    std::size_t servers_login = 0;
    std::size_t servers_cancelling = 0;
    std::chrono::microseconds longest_wait{};
};

struct backend_load {
    std::size_t active = 0, idle = 0, login = 0;
};

struct prepared_row {
    std::string name;  // on servers
    std::string statement;
    std::size_t uses = 0;  // clients and servers that have it
};

struct worker_survey {
    std::size_t worker = 0;
    pg_stats pg;
    http_stats http;
    routing::classifier_stats classifier;
    std::size_t cached_verdicts = 0;
    std::size_t prepared_statements = 0;
    std::size_t logging_in = 0;
    std::vector<pool_row> pools;
    std::vector<backend_load> backends;  // by backend_id
    std::vector<client_row> clients;
    std::vector<server_row> servers;
    std::vector<prepared_row> prepared;
    std::map<std::string, std::size_t> listening;  // by database: channels that clients listen to through the listener
    std::size_t not_shown = 0;  // rows beyond survey_wish::most
};

struct survey {
    std::vector<worker_survey> workers;  // all; of silent ones what they had counted when they last answered
    std::vector<std::size_t> silent;     // workers that did not answer in time

    /// Of all workers together.
    std::map<std::string, database_stats> databases() const;
    std::vector<pool_row> pools() const;
};

/// Asks the workers. Control thread.
class surveyor {
  public:
    using answer = std::function<void(survey)>;

    explicit surveyor(boost::asio::io_context& io) : io_(io) {}
    void start(std::vector<std::unique_ptr<worker_port>>& workers) { workers_ = &workers; }
    /// `done` is called later, on the control thread, once.
    void ask(survey_wish wish, answer done);

  private:
    struct round;
    boost::asio::io_context& io_;
    std::vector<std::unique_ptr<worker_port>>* workers_ = nullptr;
    std::vector<worker_survey> counted_;  // by worker: the counters of its last answer
};

}  // namespace lull
