// The admin socket: HTTP/1.1 with JSON over a unix socket, mode 0600, for ourselves and root only. Lives on
// the control thread, as does everything it asks.
//
//   GET /status   GET /sites   GET /sites/SITE   GET /sites/SITE/migration   GET /config   GET /version
//   GET /sites/SITE/journal         writes that are to be run when the window is over, and what became of others (?all=1: not only the first 100)
//   POST /sites/SITE/journal        run what the oldest kept file says was not run, or failed
//   PUT /sites/SITE/maintenance     begin, or one more reason; idempotent. ?wait_ms= or "wait_ms" in the body:
//                                   answer when it is over
//   DELETE /sites/SITE/maintenance  clear a reason (?as=NAME), or all (?all=1); the last one ends the window,
//                                   or cancels its entering; idempotent. ?wait_ms= likewise
//   PUT /sites/SITE/lease           the holder of a reason ({"as": NAME}) is alive
//   GET /sites/SITE/verify          what the server says of the window that is open, or of the last
//   POST /reload
//
// Errors are problem documents (RFC 9457) with `fix`: what to do.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <nlohmann/json.hpp>

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace lull {

struct admin_answer {
    int status = 200;
    nlohmann::json body;
};

/// RFC 9457.
admin_answer problem(int status, std::string_view title, std::string_view detail, std::string_view fix = {});

/// What the socket asks of the control thread. Every call returns at once; what takes time shows in site().
class admin_desk {
  public:
    virtual admin_answer status() = 0;
    virtual admin_answer sites() = 0;
    virtual admin_answer site(std::string const& name) = 0;
    virtual admin_answer migration(std::string const& site) = 0;
    /// The first 100 of each list, or `all`.
    virtual admin_answer journal(std::string const& site, bool all) = 0;
    /// Begins to run what a kept file says was not done.
    virtual admin_answer run_journal(std::string const& site) = 0;
    virtual admin_answer effective_config() = 0;
    /// `request` is an object, perhaps empty; unknown members are refused. 202 while entering, 200 when
    /// sealed.
    virtual admin_answer begin(std::string const& site, nlohmann::json const& request) = 0;
    /// `as`: which reason to clear; empty: the only one, or the operator's. 202 while reopening, 200 when
    /// read_write, and where other reasons keep the site closed.
    virtual admin_answer finish(std::string const& site, std::string const& as, bool all) = 0;
    virtual admin_answer renew(std::string const& site, nlohmann::json const& request) = 0;
    /// `then` is called once, on the control thread, when the server has answered.
    virtual void verify(std::string const& site, std::function<void(admin_answer)> then) = 0;
    virtual admin_answer reload() = 0;

  protected:
    ~admin_desk() = default;
};

class admin {
  public:
    /// Throws std::runtime_error with path and reason. A socket that nobody listens on any more is replaced.
    admin(boost::asio::io_context& io, std::string path, admin_desk& desk);
    ~admin();
    admin(admin const&) = delete;
    admin& operator=(admin const&) = delete;

  private:
    void accept();

    boost::asio::io_context& io_;
    std::string path_;
    admin_desk& desk_;
    boost::asio::local::stream_protocol::acceptor acceptor_;
    boost::asio::steady_timer pause_;  // without file descriptors
    bool complained_ = false;
};

}  // namespace lull
