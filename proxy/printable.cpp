#include "proxy/printable.hpp"

#include "protocol/utf8.hpp"

namespace lull {

std::string printable(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    while (!text.empty()) {
        std::size_t const bytes = utf8_length(text);
        auto const lead = static_cast<unsigned char>(text[0]);
        // Terminals take U+0080 to U+009F for the beginning of escape sequences, too.
        bool const second_control = bytes == 2 && lead == 0xC2 && static_cast<unsigned char>(text[1]) < 0xA0;
        if (bytes == 0)
            out += "\xEF\xBF\xBD";
        else if (lead < 0x20 || lead == 0x7F || second_control)
            out += ' ';
        else
            out += text.substr(0, bytes);
        text.remove_prefix(bytes ? bytes : 1);
    }
    return out;
}

}  // namespace lull
