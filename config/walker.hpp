// Walks the maps of a tree and remembers what was asked for, so that what nobody asked for can be refused.
// Base of the reader; knows nothing of single keys.
#pragma once

#include "config/reader.hpp"

#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace lull::config {

class walker {
  public:
    explicit walker(std::string const& file) { out_.positions.file = file; }

  protected:
    struct level {
        node const* map;
        std::string path;
        std::unordered_map<std::string_view, std::size_t> index;  // key -> its first entry
        std::vector<std::string_view> known;                      // views into fields.hpp
        bool any_key = false;                                     // the keys are names that the user chose
    };

    [[nodiscard]] bool full() const { return out_.issues.size() >= most_issues; }
    void complain(node const& at, std::string const& path, std::string message, std::string fix);
    void warn(node const& at, std::string const& path, std::string message, std::string fix);

    /// Opens a map; false, with an issue, if it is none. An empty value is an empty map: `app:` under users
    /// needs nothing more.
    bool enter(node const& n, std::string const& path);

    /// Closes it and refuses the keys that were not asked for.
    void leave();

    /// The value of a key of the open map, if it is there; `path` becomes the key's. `key` lives as long as
    /// the walker.
    node const* ask(std::string_view key, std::string& path);

    /// A single value; otherwise nothing, with an issue. `example` is what a fix shows.
    bool is_text(node const& n, std::string const& path, std::string_view example);

    void not_a_choice(node const& n, std::string const& path, std::vector<std::string_view> const& names);

    /// Where to point when `key` is missing from the open map.
    [[nodiscard]] node place_of_open_map() const;

    level& open_map() { return levels_.back(); }

    read_result out_;

  private:
    std::vector<level> levels_;
};

}  // namespace lull::config
