// That an address cannot be listened on, told so that it can be mended.
#pragma once

#include <string>
#include <string_view>

namespace lull {

/// `key`: of the configuration, that says so.
[[noreturn]] void fail_to_listen(std::string_view key, std::string const& where, std::string_view why, std::string_view fix);
/// How an address can be had for which bind() has failed with this.
std::string_view fix_for_bind(int error);

}  // namespace lull
