// What is wrong with a configuration, told so that it can be repaired without reading the manual: where it
// stands, what it is, and what to write instead. Values only.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace lull::config {

/// Makes the configuration unusable. Line and column count from 1 (columns in bytes); 0: the file as a whole.
struct issue {
    std::string file;
    int line = 0;
    int column = 0;
    std::string path;  // sites.shop.hold.max_age, users."a.b", sites.shop.hosts[1]; empty: none in particular
    std::string message;
    std::string fix;
    friend bool operator==(issue const&, issue const&) = default;
};

/// Usable, but probably not what was meant. A type of its own, so that neither is taken for the other.
struct warning {
    std::string file;
    int line = 0;
    int column = 0;
    std::string path;
    std::string message;
    std::string fix;
    friend bool operator==(warning const&, warning const&) = default;
};

/// "lull.yaml:3:5: error: sites.shop.hold.max_age: message\n    fix: ...", without a newline at the end.
[[nodiscard]] std::string to_string(issue const&);
[[nodiscard]] std::string to_string(warning const&);
/// The same for a log: "...: message (fix: ...)".
[[nodiscard]] std::string in_one_line(issue const&);
[[nodiscard]] std::string in_one_line(warning const&);

/// `parent` and one more segment, quoted where it would be ambiguous: ("users", "a.b") -> users."a.b"
[[nodiscard]] std::string join_path(std::string_view parent, std::string_view segment);

struct position {
    int line = 0;
    int column = 0;
};

/// Where each path of a file stands. Empty for a configuration that was not read from text.
struct positions {
    std::string file;
    std::map<std::string, position, std::less<>> at;

    /// Of the path itself or, where it was not written, of the nearest path around it, at last the file.
    [[nodiscard]] position find(std::string_view path) const;
};

/// The candidate that was probably meant by `typed`; empty: none is near.
[[nodiscard]] std::string_view nearest(std::string_view typed,
                                       std::vector<std::string_view> const& candidates);

/// For messages: in quotes, control bytes as \xNN, cut after 60 bytes.
[[nodiscard]] std::string shown(std::string_view text);

}  // namespace lull::config
