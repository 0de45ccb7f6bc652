// A small file, whole. Blocks; a FIFO or a device is refused rather than waited for.
#pragma once

#include <cstddef>
#include <string>
#include <variant>

namespace lull::config {

struct text_file {
    std::string bytes;
    bool others_may_read = false;
};

struct file_error {
    std::string message;
    std::string fix;
};

[[nodiscard]] std::variant<text_file, file_error> read_text_file(std::string const& path,
                                                                 std::size_t most_bytes);

}  // namespace lull::config
