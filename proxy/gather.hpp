// What one event wants to send to one peer: pieces of the bytes just read (not copied when they are long) and
// bytes of our own, in order, so that a wake-up ends in one send. Lives for one event; the views in it point
// into the block that was read and die with the event. Reused by its worker: no allocation in steady state.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <sys/uio.h>
#include <vector>

namespace lull {

class gather {
  public:
    /// Bytes that stay valid until the event has been carried out. Short ones are copied: one contiguous
    /// buffer goes out with send(), and copying 1 KiB costs less than one more iovec.
    void view(std::span<std::byte const> bytes) {
        if (bytes.size() <= copy_limit) {
            write([&](std::string& out) {
                out.append(reinterpret_cast<char const*>(bytes.data()), bytes.size());
            });
            return;
        }
        pieces_.push_back({reinterpret_cast<char const*>(bytes.data()), bytes.size(), 0});
        size_ += bytes.size();
    }

    /// `writer` appends to the string it is given.
    template <class Writer>
    void write(Writer&& writer) {
        std::size_t const before = own_.size();
        writer(own_);
        std::size_t const added = own_.size() - before;
        if (added == 0) return;
        size_ += added;
        if (!pieces_.empty() && pieces_.back().data == nullptr)
            pieces_.back().size += added;
        else
            pieces_.push_back({nullptr, added, before});
    }

    void text(std::string_view bytes) {
        write([&](std::string& out) { out.append(bytes); });
    }

    bool empty() const { return size_ == 0; }
    std::size_t size() const { return size_; }

    /// As the kernel wants it. Valid until the next write.
    std::vector<iovec> const& vectors() {
        vectors_.clear();
        for (piece const& p : pieces_)
            vectors_.push_back({const_cast<char*>(p.data ? p.data : own_.data() + p.offset), p.size});
        return vectors_;
    }

    /// All of it as one string, for tests and for what could not be sent at once.
    std::string copy(std::size_t skip = 0) {
        std::string all;
        all.reserve(size_ - skip);
        for (iovec const& v : vectors()) {
            if (skip >= v.iov_len) {
                skip -= v.iov_len;
                continue;
            }
            all.append(static_cast<char const*>(v.iov_base) + skip, v.iov_len - skip);
            skip = 0;
        }
        return all;
    }

    void clear() {
        pieces_.clear();
        own_.clear();
        size_ = 0;
    }

  private:
    static constexpr std::size_t copy_limit = 1024;
    struct piece {
        char const* data;  // null: at `offset` of own_, which may move while it grows
        std::size_t size;
        std::size_t offset;
    };
    std::vector<piece> pieces_;
    std::string own_;
    std::vector<iovec> vectors_;
    std::size_t size_ = 0;
};

}  // namespace lull
