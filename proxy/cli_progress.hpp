// What a waiting command shows: one line that changes on a terminal, a line a change elsewhere.
#pragma once

#include "proxy/admin_client.hpp"

#include <nlohmann/json.hpp>

#include <optional>
#include <string>

namespace lull::cli {

class progress {
  public:
    progress();
    /// `site_status` as GET /sites/SITE gives it.
    void show(std::string const& site, nlohmann::json const& site_status);
    /// The line is over; to be called before anything else is printed.
    void end();
    /// Asks, and waits for as long as it takes, or until Ctrl-C: nothing then. Says so when no answer has
    /// come for a while. Throws admin_unreachable.
    std::optional<admin_reply> ask(admin_client const& admin, std::string const& method,
                                   std::string const& target, nlohmann::json const& body = nullptr);

  private:
    bool const terminal_;
    std::string last_;
};

}  // namespace lull::cli
