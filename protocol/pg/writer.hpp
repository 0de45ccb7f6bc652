// Appends one message to a string; the length is set when the writer goes out of scope. For the write_*
// functions of this folder.
#pragma once

#include "protocol/pg/bytes.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace lull::pg {

class writer {
  public:
    /// A message with a type byte.
    writer(std::string& out, char type) : out_(out) {
        out_ += type;
        start_ = out_.size();
        out_.append(4, '\0');
    }
    /// A startup packet.
    explicit writer(std::string& out) : out_(out), start_(out.size()) { out_.append(4, '\0'); }
    writer(writer const&) = delete;
    writer& operator=(writer const&) = delete;
    ~writer() {
        // Our limits keep every message far below 4 GiB, so nothing is cut here.
        auto const length = static_cast<std::uint32_t>(out_.size() - start_ + still_to_come_);
        for (std::size_t i = 0; i < 4; ++i) out_[start_ + i] = static_cast<char>(length >> (24 - 8 * i));
    }

    writer& byte(char value) {
        out_ += value;
        return *this;
    }
    writer& int16(std::uint16_t value) {
        return byte(static_cast<char>(value >> 8)).byte(static_cast<char>(value));
    }
    writer& int32(std::uint32_t value) {
        return int16(static_cast<std::uint16_t>(value >> 16)).int16(static_cast<std::uint16_t>(value));
    }
    writer& raw(bytes data) { return raw(as_text(data)); }
    writer& raw(std::string_view data) {
        out_ += data;
        return *this;
    }
    /// Up to the first NUL: what would stand behind it would be read as the next field.
    writer& text(std::string_view value) { return raw(value.substr(0, value.find('\0'))).byte('\0'); }

    /// The message goes on with so many bytes that somebody else sends.
    writer& followed_by(std::size_t count) {
        still_to_come_ = count;
        return *this;
    }

  private:
    std::string& out_;
    std::size_t start_ = 0;
    std::size_t still_to_come_ = 0;
};

}  // namespace lull::pg
