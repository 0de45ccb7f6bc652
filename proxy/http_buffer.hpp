// Bytes between two sockets of one HTTP session. A buffer that is empty owns nothing: its block goes back to
// the worker's stock, so idle connections cost no memory and the blocks in use stay warm in the cache. Used
// on one worker only. Views die with the next call that is not const.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace lull {

inline constexpr std::size_t http_block_bytes = 32 * 1024;

/// Blocks of a worker that nobody uses at the moment. Outlives every buffer that takes from it.
class http_blocks {
  public:
    std::unique_ptr<char[]> take() {
        if (free_.empty()) return std::unique_ptr<char[]>(new char[http_block_bytes]);
        std::unique_ptr<char[]> block = std::move(free_.back());
        free_.pop_back();
        return block;
    }
    void give(std::unique_ptr<char[]> block) {
        if (free_.size() < max_free) free_.push_back(std::move(block));
    }

  private:
    static constexpr std::size_t max_free = 256;
    std::vector<std::unique_ptr<char[]>> free_;
};

class http_buffer {
  public:
    explicit http_buffer(http_blocks& blocks) : blocks_(&blocks) {}
    ~http_buffer() { clear(); }
    http_buffer(http_buffer const&) = delete;
    http_buffer& operator=(http_buffer const&) = delete;

    bool empty() const { return begin_ == end_; }
    std::size_t size() const { return end_ - begin_; }
    std::string_view view() const { return {data_.get() + begin_, size()}; }

    /// Where up to `limit - size()` more bytes may be received; empty when that many are there already.
    std::span<char> space(std::size_t limit) {
        if (size() >= limit) return {};
        make_room(1, limit);
        return {data_.get() + end_, std::min(capacity_ - end_, limit - size())};
    }
    /// So many bytes were received into space(); zero gives an unused block back.
    void commit(std::size_t n) {
        assert(n <= capacity_ - end_);
        end_ += n;
        if (empty()) clear();
    }

    void append(std::string_view bytes) {
        if (bytes.empty()) return;
        make_room(bytes.size(), size() + bytes.size());
        std::memcpy(data_.get() + end_, bytes.data(), bytes.size());
        end_ += bytes.size();
    }

    void consume(std::size_t n) {
        assert(n <= size());
        begin_ += n;
        if (empty()) clear();
    }

    void clear() {
        begin_ = end_ = 0;
        if (capacity_ == http_block_bytes) blocks_->give(std::move(data_));
        data_.reset();
        capacity_ = 0;
    }

    /// Moves everything from `other` without copying. Only when this one is empty.
    void take_all(http_buffer& other) {
        assert(empty());
        std::swap(data_, other.data_);
        std::swap(capacity_, other.capacity_);
        std::swap(begin_, other.begin_);
        std::swap(end_, other.end_);
    }

  private:
    /// Afterwards `n` bytes fit behind the end. `total`: what will be stored at most.
    void make_room(std::size_t n, std::size_t total) {
        if (capacity_ - end_ >= n) return;
        std::size_t const held = size();
        if (held + n <= capacity_) {
            std::memmove(data_.get(), data_.get() + begin_, held);
        } else {
            // More than a block is needed for long heads only; such memory is not kept.
            std::size_t const wanted = std::max(total, held + n);
            bool const pooled = wanted <= http_block_bytes || (held == 0 && n <= http_block_bytes);
            std::unique_ptr<char[]> bigger =
                pooled ? blocks_->take() : std::unique_ptr<char[]>(new char[wanted]);
            if (held > 0) std::memcpy(bigger.get(), data_.get() + begin_, held);
            if (capacity_ == http_block_bytes) blocks_->give(std::move(data_));
            data_ = std::move(bigger);
            capacity_ = pooled ? http_block_bytes : wanted;
        }
        begin_ = 0;
        end_ = held;
    }

    http_blocks* blocks_;
    std::unique_ptr<char[]> data_;
    std::size_t capacity_ = 0;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
};

}  // namespace lull
