// What a client does, drawn from a seed: operations of one or more statements, each with its bytes and with
// what is known of the right answer. Every constant is used once, so that the ledger can tell who did what.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace lull::sim {

class dice {
  public:
    explicit dice(std::uint64_t seed) : engine_(seed) {}
    /// 0 to below - 1.
    std::size_t roll(std::size_t below) { return below == 0 ? 0 : engine_() % below; }
    bool one_in(std::size_t n) { return roll(n) == 0; }

  private:
    std::mt19937_64 engine_;
};

struct operation {
    std::string bytes;               // ends with what brings one ReadyForQuery
    std::vector<std::string> reads;  // constants that may come as rows, in this order
    std::string write;               // alone in its operation: committed if it was acknowledged
    bool begins = false;
    bool commits = false;
    bool undoes = false;  // ROLLBACK, ROLLBACK TO, or what makes acknowledgements hard to follow
};

class scenario {
  public:
    scenario(std::string client, std::uint64_t seed)
        : client_(std::move(client)), dice_(seed), on_standby_(seed % 2 == 0) {}
    /// Which prepared statements it may use again. The unnamed one may have constants, so only where nobody
    /// counts them; and what a name means must not hang on an operation that is under way and may yet fail.
    enum class names : std::uint8_t { named, all, new_ones };
    operation next(names how = names::named);
    /// From now on half of what it asks is a way out of READ ONLY.
    void be_sly() { sly_ = true; }

  private:
    std::string fresh() { return client_ + "-" + std::to_string(++count_); }
    std::string any_statement(operation& op);
    operation way_out();
    operation portal_way_out();
    std::string some_portal();
    operation simple();
    operation block();
    operation setting();
    operation segment();
    operation copy();
    operation many();

    std::string const client_;
    dice dice_;
    // A block that a standby has cannot end amid a text that goes on to write. Where answers are compared
    // there is the one or the other.
    bool on_standby_;
    names how_ = names::named;
    bool sly_ = false;
    std::size_t count_ = 0;
};

}  // namespace lull::sim
