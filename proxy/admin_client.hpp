// The commands' side of the admin socket: one request, one answer, blocking. Used by the command line only.
#pragma once

#include <nlohmann/json.hpp>

#include <chrono>
#include <functional>
#include <stdexcept>
#include <string>

namespace lull {

/// Nobody answers on the socket, or not us: what() says why in one sentence, `fix` what to do.
struct admin_unreachable : std::runtime_error {
    admin_unreachable(std::string const& why, std::string fix)
        : std::runtime_error(why), fix(std::move(fix)) {}
    std::string fix;
};

/// Somebody has the socket and says nothing, until the caller no longer wanted to wait.
struct admin_silent : admin_unreachable {
    using admin_unreachable::admin_unreachable;
};

struct admin_reply {
    int status = 0;
    nlohmann::json body;
    bool ok() const { return status < 400; }
};

class admin_client {
  public:
    /// Asked several times a second, with how long nothing has come: whether to go on waiting.
    using patience = std::function<bool(std::chrono::milliseconds quiet)>;
    /// A server that lives answers at once, but for GET /sites/SITE/verify.
    static constexpr std::chrono::seconds usual_patience{5};
    static bool usual(std::chrono::milliseconds quiet) { return quiet < usual_patience; }

    explicit admin_client(std::string socket_path) : path_(std::move(socket_path)) {}

    /// A new connection for each call. Throws admin_unreachable.
    admin_reply call(std::string const& method, std::string const& target,
                     nlohmann::json const& body = nullptr, patience const& waits = usual) const;

  private:
    std::string path_;
};

}  // namespace lull
