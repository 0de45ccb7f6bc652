#include "proxy/configured.hpp"

#include "config/load.hpp"
#include "proxy/check_query_core.hpp"

#include <utility>

namespace lull {

std::variant<configured, std::vector<config::issue>> load_configured(std::string const& file,
                                                                     std::vector<config::warning>& warnings) {
    config::positions places;
    config::load_result loaded = config::load_file(file, &warnings, &places);
    if (auto* issues = std::get_if<std::vector<config::issue>>(&loaded)) return std::move(*issues);
    auto config = std::make_shared<config::config const>(std::get<config::config>(std::move(loaded)));
    if (auto const issue = judge_check_query(*config, places)) return std::vector{*issue};
    std::vector<config::issue> of_files;
    auto keyring = load_keyring(*config, places, of_files, warnings);
    if (!keyring) return of_files;
    return configured{std::move(config), std::move(keyring)};
}

}  // namespace lull
