// Text that is nearly always empty, in a session of which there are thousands: eight bytes until it is not.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace lull {

class rare_text {
  public:
    rare_text& operator=(std::string text) {
        text_ = text.empty() ? nullptr : std::make_unique<std::string>(std::move(text));
        return *this;
    }
    /// `put` appends to it.
    template <class Put>
    void append(Put&& put) {
        std::string text = take();
        put(text);
        *this = std::move(text);
    }
    bool empty() const { return !text_; }
    /// Until it changes.
    std::string_view view() const { return text_ ? std::string_view(*text_) : std::string_view(); }
    void clear() { text_.reset(); }
    /// What it was; it is empty then.
    std::string take() {
        std::string out = text_ ? std::move(*text_) : std::string();
        text_.reset();
        return out;
    }

  private:
    std::unique_ptr<std::string> text_;  // never of an empty one
};

}  // namespace lull
