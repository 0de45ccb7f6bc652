#include "proxy/admin_client.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

namespace lull {

namespace http = boost::beast::http;

admin_reply admin_client::call(std::string const& method, std::string const& target,
                               nlohmann::json const& body) const {
    boost::asio::io_context io;
    boost::asio::local::stream_protocol::socket socket(io);
    boost::system::error_code error;
    socket.connect(path_, error);
    if (error == boost::system::errc::permission_denied)
        throw admin_unreachable("permission denied on the admin socket " + path_,
                                "run this as the user that runs `lull serve`, or as root");
    if (error)
        throw admin_unreachable(
            "no lull answers on " + path_ + ": " + error.message(),
            "start it with `lull serve`, or name its socket with --socket or LULL_SOCKET");

    http::request<http::string_body> request{http::string_to_verb(method), target, 11};
    request.set(http::field::host, "lull");
    request.set(http::field::accept, "application/json");
    if (!body.is_null()) {
        request.set(http::field::content_type, "application/json");
        request.body() = body.dump();
    }
    request.keep_alive(false);
    request.prepare_payload();
    http::write(socket, request, error);
    http::response<http::string_body> response;
    boost::beast::flat_buffer buffer;
    if (!error) http::read(socket, buffer, response, error);
    if (error)
        throw admin_unreachable(
            "the admin socket " + path_ + " was closed before it answered: " + error.message(),
            "see the log of `lull serve`, then run `lull status`");
    admin_reply reply;
    reply.status = static_cast<int>(response.result_int());
    reply.body = nlohmann::json::parse(response.body(), nullptr, false);
    if (reply.body.is_discarded()) reply.body = {{"detail", response.body()}};
    return reply;
}

}  // namespace lull
