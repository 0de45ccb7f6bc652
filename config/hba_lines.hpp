// The first half of reading pg_hba.conf (manual, "The pg_hba.conf File"): text -> lines of fields of names, with
// quotes, comments, lines that go on, include, include_if_exists, include_dir and @file followed. Any thread.
//
// Bounds: 10 files within each other as in PostgreSQL, 1'000 files, 100'000 mentions of files and 8 MiB in all, the text of a
// file as often as it is mentioned; 100 problems.
#pragma once

#include "config/access.hpp"
#include "config/text_file.hpp"

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace lull::config {

inline constexpr std::size_t most_hba_bytes = 1024 * 1024;            // of one file
inline constexpr std::size_t most_hba_bytes_in_all = 8 * 1024 * 1024;
inline constexpr std::size_t most_hba_files = 1'000;
inline constexpr std::size_t most_hba_mentions = 100'000;  // of files and folders
inline constexpr int deepest_hba_file = 10;
inline constexpr std::size_t most_hba_names = 10'000;  // in one list
inline constexpr std::size_t most_hba_problems = 100;

/// What includes are read from; paths are absolute, or begin at the working folder.
class hba_files {
  public:
    virtual std::variant<std::string, file_error> read(std::string const& path) = 0;
    /// Those of a folder that include_dir means, in their order.
    virtual std::variant<std::vector<std::string>, file_error> list(std::string const& folder) = 0;

  protected:
    ~hba_files() = default;
};

struct hba_place {
    std::string const* file = nullptr;  // lives until the hba_splitter splits another text
    int line = 0;                       // from 1, as columns, which count bytes
    int column = 0;
};

struct hba_problem {
    std::string file;
    int line = 0;
    int column = 0;
    std::string message;
    std::string fix;
};

struct hba_token {
    hba_name name;
    hba_place at;
};

/// One name, or several with commas between, in place of each @file the names in it.
struct hba_field {
    std::vector<hba_token> tokens;  // of an @file perhaps none
    hba_place at;
};

/// Never empty, and without what is a problem.
using hba_line = std::vector<hba_field>;

struct hba_lines {
    std::vector<hba_line> lines;
    std::vector<hba_problem> problems;
};

class hba_splitter {
  public:
    explicit hba_splitter(hba_files& files) : files_(files) {}

    /// `name` is what problems call it, and relative paths in it begin at its folder. Several texts share the bounds,
    /// and a file that is mentioned again is the same, whatever has become of it meanwhile.
    [[nodiscard]] hba_lines split(std::string_view text, std::string name);

  private:
    class line_reader;
    void split_text(std::string_view text, std::string const& name, int depth, std::vector<hba_line>& out);
    void take(hba_line line, int depth, std::vector<hba_line>& out);
    bool may_mention(hba_place const& at);
    void include(std::string const& path, hba_place const& at, int depth, bool must_exist, std::vector<hba_line>& out);
    void include_names(std::string_view path, hba_place const& at, int depth, std::vector<hba_token>& out);
    void complain(hba_place const& at, std::string message, std::string fix);
    bool full() const { return stopped_ || problems_.size() >= most_hba_problems; }

    hba_files& files_;
    std::string name_;
    std::map<std::string, std::variant<std::string, file_error>> read_;  // by path
    std::size_t mentions_ = 0;
    std::vector<hba_problem> problems_;
    std::size_t bytes_ = 0;
    bool stopped_ = false;
};

}  // namespace lull::config
