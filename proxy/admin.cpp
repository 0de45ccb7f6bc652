#include "proxy/admin.hpp"

#include "protocol/http/percent.hpp"
#include "proxy/descriptors.hpp"
#include "proxy/listen_failure.hpp"
#include "proxy/log.hpp"
#include "proxy/version.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include <charconv>
#include <filesystem>
#include <optional>
#include <poll.h>
#include <stdexcept>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace lull {

namespace {

namespace http = boost::beast::http;
using local = boost::asio::local::stream_protocol;
using stream = boost::beast::basic_stream<local>;

constexpr std::size_t longest_body = 64 * 1024;
constexpr std::chrono::milliseconds without_descriptors{100};
constexpr std::chrono::seconds patience{30};
constexpr std::chrono::milliseconds look_again{50};
constexpr long long longest_wait_ms = 24LL * 3600 * 1000;

/// A query parameter as text.
std::string text_in(std::string_view target, std::string_view name) {
    std::size_t at = target.find('?');
    while (at != std::string_view::npos) {
        std::string_view pair = target.substr(at + 1);
        at = target.find('&', at + 1);
        pair = pair.substr(0, pair.find('&'));
        if (pair.starts_with(name) && pair.size() > name.size() && pair[name.size()] == '=')
            return lull::http::percent_decode(pair.substr(name.size() + 1));
    }
    return {};
}

/// A query parameter that is a number, or nothing.
std::optional<long long> number_of(std::string_view target, std::string_view name) {
    std::string const digits = text_in(target, name);
    long long value = 0;
    auto const [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (digits.empty() || error != std::errc{} || end != digits.data() + digits.size() || value < 0)
        return std::nullopt;
    return value;
}

bool is_over(std::string const& verb, nlohmann::json const& site) {
    std::string const state = site.value("state", "");
    if (state == "read_write") return true;
    return verb == "PUT" && (state == "sealed" || state == "frozen");
}

/// Waited for sealed, and it is open again: given up or cancelled.
admin_answer not_entered(nlohmann::json const& site) {
    auto const error = site.find("error");
    if (error == site.end() || !error->is_object())
        return problem(409, "Maintenance was not entered", "entering was cancelled; the site is open");
    return problem(409, "Maintenance was not entered", error->value("text", ""), error->value("fix", ""));
}

/// One connection; keeps itself alive while an operation is under way.
class session : public std::enable_shared_from_this<session> {
  public:
    session(local::socket socket, boost::asio::io_context& io, admin_desk& desk)
        : stream_(std::move(socket)), timer_(io), desk_(desk) {}

    void read() {
        parser_.emplace();
        parser_->body_limit(longest_body);
        stream_.expires_after(patience);
        http::async_read(
            stream_, buffer_, *parser_,
            [self = shared_from_this()](boost::system::error_code error, std::size_t) {
                if (error == http::error::body_limit)
                    self->answer(problem(413, "Content Too Large", "a request body may have 64 KiB"), false);
                else if (!error)
                    self->handle();
                else if (error == http::error::header_limit)
                    self->answer(problem(431, "Request Header Fields Too Large", "a head may have 8 KiB"),
                                 false);
                else if (error.category() == http::make_error_code(http::error::bad_target).category() &&
                         error != http::error::end_of_stream)
                    self->answer(
                        problem(400, "Bad Request", "this is no HTTP/1.1 request: " + error.message()),
                        false);
            });
    }
    void refuse_peer() {
        answer(problem(403, "Forbidden", "only root and the user that runs lull may use this socket"), false);
    }
    /// What is left is for the files and connections that those who are in need.
    void refuse_one_more() {
        answer(problem(503, "Service Unavailable", "too many commands wait on this socket", "end those that hang, then run it again"), false);
    }

  private:
    /// Both sides are closed; who has only ended its own (as `nc -N` does) waits for an answer.
    bool asker_has_gone() {
        pollfd peer{.fd = stream_.socket().native_handle(), .events = 0, .revents = 0};
        return ::poll(&peer, 1, 0) == 1 && (peer.revents & POLLHUP) != 0;
    }

    void handle() {
        auto const& request = parser_->get();
        keep_alive_ = request.keep_alive();
        std::string const verb(request.method_string());
        std::string const target(request.target());
        // It may have waited here for long, unread. Whoever gave up counts on nothing; nothing may be closed behind his back.
        if (asker_has_gone()) {
            if (verb != "GET") log::notice("admin socket: {} {} is not begun: who asked for it has gone", verb, target);
            return;
        }
        std::string const path = target.substr(0, target.find('?'));
        if (request.find("Origin") != request.end())  // a browser has no business here
            return answer(problem(403, "Forbidden", "requests of web pages are refused"), false);

        if (path.starts_with("/sites/")) {
            std::string const rest = path.substr(7);
            std::size_t const slash = rest.find('/');
            std::string const name = lull::http::percent_decode(std::string_view(rest).substr(0, slash));
            std::string const what = slash == std::string::npos ? "" : rest.substr(slash + 1);
            if (what.empty() && verb == "GET") return answer(desk_.site(name), keep_alive_);
            if (what == "migration" && verb == "GET") return answer(desk_.migration(name), keep_alive_);
            if (what == "journal" && verb == "GET")
                return answer(desk_.journal(name, target.ends_with("?all=1")), keep_alive_);
            if (what == "journal" && verb == "POST") return answer(desk_.run_journal(name), keep_alive_);
            if (what == "maintenance" && (verb == "PUT" || verb == "DELETE"))
                return maintain(verb, name, target);
            if (what == "lease" && verb == "PUT") return renew(name);
            if (what == "verify" && verb == "GET") {
                stream_.expires_never();
                return desk_.verify(name, [self = shared_from_this()](admin_answer known) {
                    self->answer(std::move(known), self->keep_alive_);
                });
            }
            if (what.empty() || what == "migration" || what == "verify") return method_not_allowed("GET");
            if (what == "journal") return method_not_allowed("GET, POST");
            if (what == "lease") return method_not_allowed("PUT");
            if (what == "maintenance") return method_not_allowed("PUT, DELETE");
        } else if (path == "/status" || path == "/sites" || path == "/config" || path == "/version") {
            if (verb != "GET") return method_not_allowed("GET");
            if (path == "/status") return answer(desk_.status(), keep_alive_);
            if (path == "/sites") return answer(desk_.sites(), keep_alive_);
            if (path == "/config") return answer(desk_.effective_config(), keep_alive_);
            return answer({200, {{"version", version}}}, keep_alive_);
        } else if (path == "/reload") {
            if (verb != "POST") return method_not_allowed("POST");
            return answer(desk_.reload(), keep_alive_);
        }
        answer(problem(404, "Not Found", "there is no " + path, "see `lull --help`, or GET /status"),
               keep_alive_);
    }

    /// Discarded where it is no JSON.
    nlohmann::json body() {
        std::string const& text = parser_->get().body();
        return text.empty() ? nlohmann::json::object() : nlohmann::json::parse(text, nullptr, false);
    }
    void no_object() {
        answer(problem(400, "Bad Request", "the body must be a JSON object",
                       "send {} or {\"reason\": \"...\"}"),
               keep_alive_);
    }
    void renew(std::string const& name) {
        nlohmann::json const request = body();
        if (!request.is_object()) return no_object();
        answer(desk_.renew(name, request), keep_alive_);
    }

    void maintain(std::string const& verb, std::string const& name, std::string const& target) {
        std::optional<long long> wait_ms = number_of(target, "wait_ms");
        admin_answer first;
        if (verb == "PUT") {
            nlohmann::json request = body();
            if (!request.is_object()) return no_object();
            if (auto const at = request.find("wait_ms"); at != request.end()) {
                if (!at->is_number_unsigned())
                    return answer(problem(400, "Bad Request", "wait_ms must be a number of milliseconds"),
                                  keep_alive_);
                wait_ms = at->get<long long>();
                request.erase(at);
            }
            first = desk_.begin(name, request);
        } else {
            first = desk_.finish(name, text_in(target, "as"), number_of(target, "all").value_or(0) != 0);
        }
        if (!wait_ms || first.status != 202 || is_over(verb, first.body))
            return answer(std::move(first), keep_alive_);
        watch(verb, name,
              std::chrono::steady_clock::now() +
                  std::chrono::milliseconds(std::min(*wait_ms, longest_wait_ms)));
    }

    /// Until it is over, or the caller's patience is.
    void watch(std::string const& verb, std::string const& name,
               std::chrono::steady_clock::time_point until) {
        stream_.expires_never();
        timer_.expires_after(look_again);
        timer_.async_wait([self = shared_from_this(), verb, name, until](boost::system::error_code error) {
            if (error || self->asker_has_gone()) return;  // what was begun goes on
            admin_answer now = self->desk_.site(name);
            bool const over = now.status >= 400 || is_over(verb, now.body);
            if (!over && std::chrono::steady_clock::now() < until) return self->watch(verb, name, until);
            if (!over) now.status = 202;
            if (over && verb == "PUT" && now.status < 400 && now.body.value("state", "") == "read_write")
                now = not_entered(now.body);
            self->answer(std::move(now), self->keep_alive_);
        });
    }

    void method_not_allowed(std::string const& allowed) {
        allow_ = allowed;
        answer(problem(405, "Method Not Allowed", "allowed here: " + allowed), keep_alive_);
    }

    void answer(admin_answer what, bool keep_alive) {
        response_ = {static_cast<http::status>(what.status), 11};
        response_.set(http::field::server, "lull");
        response_.set(http::field::cache_control, "no-store");
        response_.set(http::field::content_type,
                      what.status >= 400 ? "application/problem+json" : "application/json");
        if (!allow_.empty()) response_.set(http::field::allow, allow_);
        allow_.clear();
        response_.body() = what.body.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
        response_.keep_alive(keep_alive);
        response_.prepare_payload();
        stream_.expires_after(patience);
        http::async_write(
            stream_, response_,
            [self = shared_from_this(), keep_alive](boost::system::error_code error, std::size_t) {
                if (!error && keep_alive) self->read();
            });
    }

    stream stream_;
    boost::asio::steady_timer timer_;
    admin_desk& desk_;
    boost::beast::flat_buffer buffer_{longest_body + 16 * 1024};
    std::optional<http::request_parser<http::string_body>> parser_;
    http::response<http::string_body> response_;
    std::string allow_;
    bool keep_alive_ = false;
};

bool may_come_in(int fd) {
    ucred who{};
    socklen_t size = sizeof who;
    if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) return false;
    return who.uid == 0 || who.uid == ::geteuid();
}

bool somebody_listens(std::string const& path) {
    boost::asio::io_context io;
    local::socket socket(io, local());
    boost::system::error_code error;
    socket.non_blocking(true, error);  // as many as may wait there already: it would wait, too
    socket.connect(path, error);
    return !error;
}

}  // namespace

admin_answer problem(int status, std::string_view title, std::string_view detail, std::string_view fix) {
    nlohmann::json body{{"type", "about:blank"}, {"title", title}, {"status", status}, {"detail", detail}};
    if (!fix.empty()) body["fix"] = fix;
    return {status, std::move(body)};
}

admin::admin(boost::asio::io_context& io, std::string path, admin_desk& desk)
    : io_(io), path_(std::move(path)), desk_(desk), acceptor_(io), pause_(io) {
    auto fail = [&](std::string_view why, std::string_view fix) { fail_to_listen("admin_socket", path_, why, fix); };
    if (path_.size() >= sizeof(sockaddr_un::sun_path)) fail("the path is longer than the system allows", "choose a shorter one");
    if (std::filesystem::path const folder = std::filesystem::path(path_).parent_path(); !folder.empty()) {
        std::error_code ignored;  // bind() says what is wrong
        std::filesystem::create_directories(folder, ignored);
    }
    struct stat existing {};
    if (::lstat(path_.c_str(), &existing) == 0) {
        if (!S_ISSOCK(existing.st_mode)) fail("there is a file that is not a socket", "take it away, or choose another path");
        if (somebody_listens(path_)) fail("another lull listens there", "end it, or choose another path");
        ::unlink(path_.c_str());
    }
    boost::system::error_code error;
    acceptor_.open(local(), error);
    // The mode must be right from the first moment on, so the mask makes it, not a chmod behind it.
    mode_t const before = ::umask(0177);
    if (!error) acceptor_.bind(local::endpoint(path_), error);
    ::umask(before);
    if (!error) acceptor_.listen(boost::asio::socket_base::max_listen_connections, error);
    if (error) fail(error.message(), fix_for_bind(error.value()));
    accept();
}

admin::~admin() {
    boost::system::error_code ignored;
    acceptor_.close(ignored);
    ::unlink(path_.c_str());
}

void admin::accept() {
    acceptor_.async_accept([this](boost::system::error_code const& error, local::socket socket) {
        if (error == boost::asio::error::operation_aborted) return;
        if (!error) {
            bool const allowed = may_come_in(socket.native_handle());
            bool const room = has_room(descriptor_use::admin, socket.native_handle());
            auto const made = std::make_shared<session>(std::move(socket), io_, desk_);
            if (!allowed)
                made->refuse_peer();
            else if (!room)
                made->refuse_one_more();
            else
                made->read();
            complained_ = false;
        } else {
            // Without file descriptors the next attempt fails at once, too: those who come wait a moment.
            if (!complained_) log::error("admin socket: {}", error.message());
            complained_ = true;
            pause_.expires_after(without_descriptors);
            pause_.async_wait([this](boost::system::error_code const& ended) {
                if (!ended) accept();
            });
            return;
        }
        accept();
    });
}

}  // namespace lull
