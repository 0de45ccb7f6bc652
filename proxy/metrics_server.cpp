#include "proxy/metrics_server.hpp"

#include "config/endpoint.hpp"
#include "proxy/descriptors.hpp"
#include "proxy/listen_failure.hpp"
#include "proxy/log.hpp"
#include "proxy/metrics.hpp"

#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>

#include <list>
#include <optional>

namespace lull {

namespace http = boost::beast::http;
using boost::asio::ip::tcp;

namespace {

constexpr std::chrono::seconds patience{10};
constexpr std::size_t most_connections = 64;
constexpr std::size_t most_head_bytes = 16 * 1024;

/// A connection.
class guest {
  public:
    /// At once, and unheard.
    virtual void leave() = 0;

  protected:
    ~guest() = default;
};

}  // namespace

/// Outlived by no session's use of it: they share it.
struct metrics_server::shared {
    observer* all;
    std::size_t connections = 0;
    std::list<guest*> silent;  // of which no whole request has come, who has waited longest first
    bool stopping = false;
};

namespace {

template <class Shared>
class session : public guest, public std::enable_shared_from_this<session<Shared>> {
  public:
    session(tcp::socket socket, std::shared_ptr<Shared> house)
        : stream_(std::move(socket)), house_(std::move(house)) {
        ++house_->connections;
    }
    ~session() {
        heard();
        if (counted_) --house_->connections;
    }

    void read() {
        silent_ = house_->silent.insert(house_->silent.end(), this);
        parser_.emplace();
        parser_->header_limit(most_head_bytes);
        parser_->body_limit(0);
        stream_.expires_after(patience);
        http::async_read(stream_, buffer_, *parser_,
                         [self = this->shared_from_this()](boost::system::error_code error, std::size_t) {
                             self->heard();
                             if (!error) return self->handle();
                             if (error == http::error::end_of_stream ||
                                 error.category() == boost::asio::error::get_system_category())
                                 return;
                             self->answer(http::status::bad_request, "not a request for metrics\n", false);
                         });
    }
    void turn_away() { answer(http::status::service_unavailable, "too many connections\n", false); }
    void leave() override {
        heard();
        counted_ = false;
        --house_->connections;
        stream_.close();
    }

  private:
    void heard() {
        if (silent_) house_->silent.erase(*silent_);
        silent_.reset();
    }


    void handle() {
        auto const& request = parser_->get();
        bool const keep = request.keep_alive();
        head_ = request.method() == http::verb::head;
        if (request.method() != http::verb::get && !head_)
            return answer(http::status::method_not_allowed, "allowed here: GET, HEAD\n", keep);
        std::string_view path(request.target().data(), request.target().size());
        path = path.substr(0, path.find('?'));
        if (path == "/healthz") return answer(http::status::ok, "ok\n", keep);
        if (path == "/readyz") {
            house_->all->look({}, [self = this->shared_from_this(), keep](overview o) {
                readiness const r = judge_readiness(o, self->house_->stopping);
                self->answer(r.ready ? http::status::ok : http::status::service_unavailable, r.text + "\n",
                             keep);
            });
        } else if (path == "/metrics") {
            house_->all->look({}, [self = this->shared_from_this(), keep](overview o) {
                self->answer(http::status::ok, render_metrics(o), keep);
            });
        } else {
            answer(http::status::not_found, "there are /metrics, /healthz and /readyz\n", keep);
        }
    }

    void answer(http::status status, std::string text, bool keep_alive) {
        response_ = {status, 11};
        response_.set(http::field::server, "lull");
        response_.set(http::field::cache_control, "no-store");
        response_.set(http::field::content_type, "text/plain; version=0.0.4; charset=utf-8");
        if (status == http::status::method_not_allowed) response_.set(http::field::allow, "GET, HEAD");
        response_.keep_alive(keep_alive);
        response_.content_length(text.size());
        if (!head_) response_.body() = std::move(text);
        stream_.expires_after(patience);
        http::async_write(
            stream_, response_,
            [self = this->shared_from_this(), keep_alive](boost::system::error_code error, std::size_t) {
                if (!error && keep_alive) return self->read();
                boost::system::error_code ignored;
                self->stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
            });
    }

    boost::beast::tcp_stream stream_;
    std::shared_ptr<Shared> house_;
    boost::beast::flat_buffer buffer_{most_head_bytes + 1024};
    std::optional<http::request_parser<http::empty_body>> parser_;
    http::response<http::string_body> response_;
    bool head_ = false;
    std::optional<std::list<guest*>::iterator> silent_;
    bool counted_ = true;
};

}  // namespace

metrics_server::metrics_server(boost::asio::io_context& io, config::endpoint const& where, observer& all)
    : shared_(std::make_shared<shared>()), io_(io), acceptor_(io) {
    shared_->all = &all;
    std::string const key = "listen.metrics", name = config::format_endpoint(where);
    boost::system::error_code error;
    tcp::resolver resolver(io);
    auto const found = resolver.resolve(where.host, std::to_string(where.port),
                                        tcp::resolver::passive | tcp::resolver::numeric_service, error);
    if (error) fail_to_listen(key, name, error.message(), "write an address of this machine, or a name that has one");
    tcp::endpoint const at = found.begin()->endpoint();
    acceptor_.open(at.protocol(), error);
    if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor_.bind(at, error);
    if (!error) acceptor_.listen(boost::asio::socket_base::max_listen_connections, error);
    if (error) fail_to_listen(key, name, error.message(), fix_for_bind(error.value()));
    accept();
}

metrics_server::~metrics_server() = default;

void metrics_server::stopping() {
    shared_->stopping = true;
}

std::uint16_t metrics_server::port() const {
    return acceptor_.local_endpoint().port();
}

void metrics_server::accept() {
    acceptor_.async_accept([this](boost::system::error_code const& error, tcp::socket socket) {
        if (error == boost::asio::error::operation_aborted) return;
        if (error) {
            log::error("metrics: {}", error.message());
            // Out of descriptors, most likely: not a reason to spin.
            auto const pause = std::make_shared<boost::asio::steady_timer>(io_, std::chrono::seconds(1));
            pause->async_wait([this, pause](boost::system::error_code const& e) {
                if (!e) accept();
            });
            return;
        }
        bool const room = has_room(descriptor_use::metrics, socket.native_handle());
        // Whoever only connects keeps no question out.
        if (shared_->connections >= most_connections && !shared_->silent.empty()) shared_->silent.front()->leave();
        auto const made = std::make_shared<session<shared>>(std::move(socket), shared_);
        if (!room || shared_->connections > most_connections)
            made->turn_away();
        else
            made->read();
        accept();
    });
}

}  // namespace lull
