// Texts that differ from a recent one in nothing but constants, told by comparing and not by another scan: the same few
// statements come again and again. One for a classifier, used on its thread.
#pragma once

#include "routing/operation.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace lull::routing {

/// A key of scan_sql(), form `changed`, that can be held against texts.
class key_shape {
  public:
    key_shape() = default;
    explicit key_shape(std::string_view key);

    /// True: scan_sql() makes this key of `sql`, which has no NUL, or says that `sql` is its own key and that is this one; and
    /// finds nothing dangerous in it. False: that is not known.
    [[nodiscard]] bool fits(std::string_view sql) const;

  private:
    std::string key_;
    std::vector<std::uint16_t> marks_;  // where constants are
};

class recent_shapes {
  public:
    using verdict = std::shared_ptr<operation const>;

    /// Of the text's shape. Null: unknown.
    [[nodiscard]] verdict const* find(std::string_view sql) const {
        if (sql.size() < least_bytes) return nullptr;
        for (entry const& e : entries_[place_of(sql)])
            if (e.value && e.shape.fits(sql)) return &e.value;
        return nullptr;
    }
    /// `key`: what scan_sql() has made of `sql`. Where there is no place any more, few are taken up.
    void remember(std::string_view sql, std::string_view key, verdict const& value);

  private:
    struct entry {
        key_shape shape;
        verdict value;
    };
    static constexpr std::size_t least_bytes = 32;
    static constexpr std::size_t most_key_bytes = 1024;  // of 128 keys at most
    static std::size_t place_of(std::string_view sql);

    /// A statement with a number that may be negative is two shapes, and begins as one.
    std::array<std::array<entry, 4>, 32> entries_;
    std::uint32_t turn_ = 0;
};

}  // namespace lull::routing
