// Where a client asks for its statement to go: by a comment in front of it, or for its session by a setting. Pure.
#pragma once

#include <cstdint>
#include <string_view>

namespace lull::routing {

/// While the site is open. `primary`: there, also what only reads. `replica`: queries go to a replica, also where
/// nobody knows what they call; a standby refuses those that write. What is not a query, and whatever has to go to the
/// primary by its text, goes there all the same.
enum class route : std::uint8_t { automatic, primary, replica };

/// The setting, as a client says it: SET lull.route TO primary.
inline constexpr std::string_view route_setting = "lull.route";

route route_of_leading_comments(std::string_view sql);
/// `/* lull: primary */` or `/* lull: replica */` among the comments that a text begins with; the first counts.
inline route route_of_comment(std::string_view sql) {
    bool const with_a_word = !sql.empty() && sql.front() > '@';  // as nearly all
    return with_a_word ? route::automatic : route_of_leading_comments(sql);
}
/// Of what route_setting is set to.
route route_of_setting(std::string_view value);

}  // namespace lull::routing
