// What one event wants to send to one peer: pieces of the bytes just read and bytes of our own, in order, so that a wake-up
// ends in one send. Lives for one event; the views in it point into the block that was read and die with the event. Reused by
// its worker: no allocation in steady state.
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
    /// Bytes that stay valid until the event has been carried out. Those that follow each other where they are, are one piece.
    void view(std::span<std::byte const> bytes) {
        if (bytes.empty()) return;
        auto const* const data = reinterpret_cast<char const*>(bytes.data());
        size_ += bytes.size();
        if (!pieces_.empty() && pieces_.back().end() == data)
            pieces_.back().size += bytes.size();
        else
            pieces_.push_back({data, bytes.size(), 0});
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

    /// As the kernel wants it. Valid until the next write. Short pieces side by side are made one: a contiguous buffer goes
    /// out with send(), and copying 1 KiB costs less than one more iovec.
    std::span<iovec const> vectors() {
        if (pieces_.size() == 1) {  // as a rule
            one_ = {data_of(pieces_.front()), size_};
            return {&one_, 1};
        }
        vectors_.clear();
        joined_.clear();
        joined_.reserve(size_of_short());
        bool joins = false;  // the last vector is the end of joined_
        for (piece const& p : pieces_) {
            char* const data = data_of(p);
            bool const is_short = p.size <= copy_limit;
            if (is_short) {
                char* const copy = joined_.data() + joined_.size();
                joined_.append(data, p.size);
                if (joins)
                    vectors_.back().iov_len += p.size;
                else
                    vectors_.push_back({copy, p.size});
            } else {
                vectors_.push_back({data, p.size});
            }
            joins = is_short;
        }
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

        char const* end() const { return data ? data + size : nullptr; }
    };

    /// As iovec wants it; nobody writes there.
    char* data_of(piece const& p) { return p.data ? const_cast<char*>(p.data) : own_.data() + p.offset; }

    std::size_t size_of_short() const {
        std::size_t sum = 0;
        for (piece const& p : pieces_) sum += p.size <= copy_limit ? p.size : 0;
        return sum;
    }

    std::vector<piece> pieces_;
    std::string own_;
    std::string joined_;
    std::vector<iovec> vectors_;
    iovec one_{};
    std::size_t size_ = 0;
};

}  // namespace lull
