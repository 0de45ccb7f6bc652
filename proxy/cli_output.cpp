#include "proxy/cli_output.hpp"

#include "protocol/utf8.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace lull::cli {

namespace {

constexpr char32_t broken = 0xFFFD;
int write_error = 0;  // of stdout, the first

struct character {
    char32_t code = broken;
    std::size_t bytes = 1;
};

/// The first of `text`, which is not empty.
character first_of(std::string_view text) {
    std::size_t const bytes = utf8_length(text);
    if (bytes == 0) return {};
    auto const lead = static_cast<unsigned char>(text[0]);
    char32_t code = bytes == 1 ? lead : lead & (0xFFU >> (bytes + 1));
    for (std::size_t i = 1; i < bytes; ++i) code = code << 6 | (static_cast<unsigned char>(text[i]) & 0x3FU);
    return {code, bytes};
}

/// What terminals show two columns wide; others are counted as one, at the worst one too many.
std::size_t columns_of(char32_t code) {
    static constexpr std::array<std::array<char32_t, 2>, 8> wide{{{0x1100, 0x115F},
                                                                  {0x2E80, 0xA4CF},
                                                                  {0xAC00, 0xD7A3},
                                                                  {0xF900, 0xFAFF},
                                                                  {0xFE30, 0xFE6F},
                                                                  {0xFF00, 0xFFE6},
                                                                  {0x1F300, 0x1FAFF},
                                                                  {0x20000, 0x3FFFD}}};
    return std::any_of(wide.begin(), wide.end(), [&](auto const& r) { return code >= r[0] && code <= r[1]; })
               ? 2
               : 1;
}

}  // namespace

std::string text_of(nlohmann::json const& value) {
    if (value.is_null()) return "";
    return value.is_string() ? value.get<std::string>()
                             : value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string cut(std::string const& text, std::size_t columns) {
    static constexpr std::string_view dots = "...";
    std::size_t used = 0;
    std::size_t fits = 0;  // in bytes, with the dots behind it
    for (std::size_t at = 0; at < text.size();) {
        character const next = first_of(std::string_view(text).substr(at));
        used += columns_of(next.code);
        if (used > columns) return text.substr(0, fits) + std::string(dots.substr(0, columns));
        at += next.bytes;
        if (used + dots.size() <= columns) fits = at;
    }
    return text;
}

std::string counted(long long n, std::string_view noun) {
    return fmt::format("{} {}{}", n, noun, n == 1 ? "" : "s");
}

std::string json_text(nlohmann::json const& value) {
    std::string const text = value.dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
    // JSON allows these in a string as they are: DEL, and U+0080 to U+009F.
    std::string out;
    out.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
        auto const [code, bytes] = first_of(std::string_view(text).substr(at));
        if (code >= 0x7F && code < 0xA0)
            out += fmt::format("\\u{:04x}", static_cast<unsigned>(code));
        else
            out += text.substr(at, bytes);
        at += bytes;
    }
    return out;
}

void put(std::FILE* to, std::string_view text) {
    errno = 0;
    if (std::fwrite(text.data(), 1, text.size(), to) != text.size() && to == stdout && write_error == 0)
        write_error = errno;
}

int ended(int status, int unwritten) {
    if (std::fflush(stdout) != 0 && write_error == 0) write_error = errno;
    if (write_error == 0 && std::ferror(stdout) == 0) return status;
    complain("lull: cannot write to the standard output: {}\n",
             std::strerror(write_error ? write_error : EIO));
    return status == 0 ? unwritten : status;
}

}  // namespace lull::cli
