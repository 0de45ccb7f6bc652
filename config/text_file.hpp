// A small file, whole. Blocks; a FIFO or a device is refused rather than waited for.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace lull::config {

struct text_file {
    std::string bytes;
    bool others_may_read = false;
};

struct file_error {
    std::string message;
    std::string fix;
    bool absent = false;  // there is nothing of that name
};

[[nodiscard]] std::variant<text_file, file_error> read_text_file(std::string const& path,
                                                                 std::size_t most_bytes);

/// The paths of the files of a folder whose names end in `ending` and do not begin with a dot, in the order of their
/// names, byte by byte.
[[nodiscard]] std::variant<std::vector<std::string>, file_error> files_of_folder(std::string const& path,
                                                                                 std::string_view ending);

}  // namespace lull::config
