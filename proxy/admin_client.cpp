#include "proxy/admin_client.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <fmt/format.h>

#include <cerrno>
#include <optional>
#include <sys/socket.h>
#include <sys/un.h>
#include <thread>

namespace lull {

namespace {

namespace http = boost::beast::http;
namespace asio = boost::asio;
using local = asio::local::stream_protocol;
using clock = std::chrono::steady_clock;

constexpr std::size_t longest_path = sizeof(sockaddr_un::sun_path) - 1;  // and a NUL

/// Runs one operation at a time to its end, or until the caller's patience is at its own.
class waiter {
  public:
    explicit waiter(admin_client::patience const& goes_on) : goes_on_(goes_on) {}

    asio::io_context io;

    /// Where those who wait to be taken in are as many as may, it is tried again. Nothing: the caller no longer waits.
    /// (Asio takes the system's EAGAIN of a unix socket for a connection that is on its way.)
    std::optional<boost::system::error_code> connect(local::socket& socket, local::endpoint const& where) {
        auto const since = clock::now();
        boost::system::error_code error;
        socket.open({}, error);
        if (!error) socket.non_blocking(true, error);
        while (!error && ::connect(socket.native_handle(), where.data(), static_cast<socklen_t>(where.size())) != 0) {
            if (errno != EAGAIN) error.assign(errno, boost::system::system_category());
            else if (!goes_on_(std::chrono::duration_cast<std::chrono::milliseconds>(clock::now() - since))) return std::nullopt;
            else std::this_thread::sleep_for(look_again);
        }
        return error;
    }

    /// `start` is given the handler. Nothing: the caller no longer waits, and the operation is still there.
    template <class Start>
    std::optional<boost::system::error_code> run(Start&& start) {
        std::optional<boost::system::error_code> result;
        start([&result](boost::system::error_code error, std::size_t = 0) { result = error; });
        auto const since = clock::now();
        for (io.restart(); !result;) {
            io.run_one_for(look_again);
            if (!result &&
                !goes_on_(std::chrono::duration_cast<std::chrono::milliseconds>(clock::now() - since)))
                return std::nullopt;
        }
        return result;
    }

  private:
    static constexpr std::chrono::milliseconds look_again{100};
    admin_client::patience const& goes_on_;
};

http::request<http::string_body> request_of(std::string const& method, std::string const& target,
                                            nlohmann::json const& body) {
    http::request<http::string_body> request{http::string_to_verb(method), target, 11};
    request.set(http::field::host, "lull");
    request.set(http::field::accept, "application/json");
    if (!body.is_null()) {
        request.set(http::field::content_type, "application/json");
        request.body() = body.dump();
    }
    request.keep_alive(false);
    request.prepare_payload();
    return request;
}

}  // namespace

admin_reply admin_client::call(std::string const& method, std::string const& target,
                               nlohmann::json const& body, patience const& waits) const {
    if (path_.size() > longest_path)
        throw admin_unreachable(
            fmt::format("the path of the admin socket has {} bytes, the system allows {}: {}", path_.size(),
                        longest_path, path_),
            "name a shorter one with --socket or LULL_SOCKET, as admin_socket in the configuration does");
    auto const silent = [&](std::string const& word) {
        return admin_silent("the server does not answer on " + path_,
                            "it is stopped, or very busy: see its log and its process" + word);
    };
    boost::beast::flat_buffer buffer;
    http::request<http::string_body> const request = request_of(method, target, body);
    http::response_parser<http::string_body> answer;
    answer.body_limit(boost::none);  // journals can be long
    waiter until(waits);             // what is given up goes with it, before what it works on
    local::socket socket(until.io);

    auto error = until.connect(socket, path_);
    if (!error) throw silent("; more wait for it than its socket has room for, and this was not among them");
    if (*error == boost::system::errc::permission_denied)
        throw admin_unreachable("permission denied on the admin socket " + path_,
                                "run this as the user that runs `lull serve`, or as root");
    if (*error)
        throw admin_unreachable(
            "no lull answers on " + path_ + ": " + error->message(),
            "start it with `lull serve`, or name its socket with --socket or LULL_SOCKET");

    error = until.run([&](auto done) { http::async_write(socket, request, std::move(done)); });
    while (error && !*error && !answer.is_done())
        error = until.run([&](auto done) { http::async_read_some(socket, buffer, answer, std::move(done)); });
    if (!error)
        throw silent(method == "GET" ? "" : "; what it has begun it goes on with, what it has not it does not begin: see `lull status`");
    if (*error)
        throw admin_unreachable(
            "the admin socket " + path_ + " was closed before it answered: " + error->message(),
            "see the log of `lull serve`, then run `lull status`");
    admin_reply reply;
    reply.status = static_cast<int>(answer.get().result_int());
    reply.body = nlohmann::json::parse(answer.get().body(), nullptr, false);
    if (reply.body.is_discarded()) reply.body = {{"detail", answer.get().body()}};
    return reply;
}

}  // namespace lull
