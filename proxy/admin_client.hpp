// The commands' side of the admin socket: one request, one answer, blocking. Used by the command line only.
#pragma once

#include <nlohmann/json.hpp>

#include <stdexcept>
#include <string>

namespace lull {

/// Nobody answers on the socket, or not us: what() says why in one sentence, `fix` what to do.
struct admin_unreachable : std::runtime_error {
    admin_unreachable(std::string const& why, std::string fix)
        : std::runtime_error(why), fix(std::move(fix)) {}
    std::string fix;
};

struct admin_reply {
    int status = 0;
    nlohmann::json body;
    bool ok() const { return status < 400; }
};

class admin_client {
  public:
    explicit admin_client(std::string socket_path) : path_(std::move(socket_path)) {}

    /// A new connection for each call. Throws admin_unreachable.
    admin_reply call(std::string const& method, std::string const& target,
                     nlohmann::json const& body = nullptr) const;

  private:
    std::string path_;
};

}  // namespace lull
