// Keeps what is known of the catalogs of one cluster's databases: one thread with a libpq connection to each
// database, as the cluster's control role. It asks each interval whether anything has changed, reads it again
// only then, makes facts of it and posts them to the control thread. Where no transaction that writes has ended on the
// server since the last time, nothing can have changed in any of its databases, and one cheap question says so.
#pragma once

#include "config/model.hpp"
#include "proxy/catalog_reader.hpp"
#include "routing/catalog_facts.hpp"
#include "routing/snapshot.hpp"

#include <boost/asio/io_context.hpp>

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

struct pg_conn;

namespace lull {

struct catalog_look {
    std::string database;
    std::shared_ptr<routing::catalog_facts const> facts;  // null: not known now
    routing::instant asked{};                             // they, or the last that were known, hold what was committed before
    std::string trouble;                                  // why they are not known
};

class catalog_watch {
  public:
    using on_look = std::function<void(catalog_look const&)>;

    /// The callback tells what is new, and what the first look behind hurry() has found. It runs on `io`'s thread, and not
    /// after the end of this object.
    catalog_watch(boost::asio::io_context& io, config::endpoint primary, config::login_role role,
                  config::server_tls tls, config::milliseconds interval, on_look look);
    ~catalog_watch();

    /// Also for a database that is watched already, when its site's guard or the limit has changed.
    void watch(std::string const& database, config::guard const& guard, std::size_t max_objects);
    /// Look at once.
    void hurry();

  private:
    struct order {
        config::guard guard;
        std::size_t max_objects = 0;
        friend bool operator==(order const&, order const&) = default;
    };
    struct watched {
        pg_conn* connection = nullptr;
        std::string server;  // that it is connected to, as catalog_moment has it
        std::string digest;
        catalog_moment digested;  // before that was asked for
        order made_for;
        std::shared_ptr<routing::catalog_facts const> facts;
        routing::instant known{};  // they hold what was committed before
        bool owed = true;          // the next look is told, whatever it finds
    };
    void run();
    bool look_at_all(std::map<std::string, order> const& todo);
    catalog_moment moment(std::map<std::string, order> const& todo);
    bool connect(std::string const& database, watched& at, std::string& trouble);
    std::string ask(std::string const& database, order const& what, watched& at, catalog_moment const& now);
    void read(order const& what, watched& at, catalog_moment const& now, std::string& trouble);
    bool wait_on(int socket);
    void disconnect(watched& at);

    boost::asio::io_context& io_;
    config::endpoint const where_;
    config::login_role const role_;
    config::server_tls const tls_;
    config::milliseconds const interval_;
    on_look const look_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // on the control thread

    std::mutex mutex_;
    std::condition_variable wake_;
    std::map<std::string, order> orders_;
    bool hurry_ = false;
    bool stop_ = false;
    int socket_ = -1;  // that is being waited for: ending this object does not

    std::map<std::string, watched> databases_;  // this thread's only
    std::thread thread_;
};

}  // namespace lull
