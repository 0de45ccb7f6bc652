// What is to run: a configuration and the TLS files that it names, or all that is wrong with either, by line.
#pragma once

#include "config/issue.hpp"
#include "config/model.hpp"
#include "proxy/tls_context.hpp"

#include <memory>
#include <string>
#include <variant>
#include <vector>

namespace lull {

struct configured {
    std::shared_ptr<config::config const> config;
    std::shared_ptr<tls_keyring const> keyring;
};

/// Warnings are appended also where there are issues.
[[nodiscard]] std::variant<configured, std::vector<config::issue>> load_configured(std::string const& file,
                                                                                   std::vector<config::warning>& warnings);

}  // namespace lull
