// lastval() and currval() tell what nextval() has said in the server's session, to whoever has that session by then. So
// that nobody is told another's: whose the values are that a server has, and which server has those of a client. Values.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>

namespace lull {

/// How the clients of one user on one database ask for them.
enum class sequence_use : std::uint8_t {
    none,
    within,  // in the transaction that has written
    behind,  // later
};

struct sequence_habit {
    sequence_use use = sequence_use::none;
    std::uint32_t clients = 0;  // that refer to it
};

/// The habits of all that have been here lately.
class sequence_habits {
  public:
    /// Stays where it is while clients refer to it.
    sequence_habit& of(std::string_view database, std::string_view user) {
        auto const at = known_.find(std::pair(database, user));
        if (at != known_.end()) return at->second;
        if (known_.size() >= most) std::erase_if(known_, [](auto const& entry) { return entry.second.clients == 0; });
        return known_[{std::string(database), std::string(user)}];
    }
    std::size_t size() const { return known_.size(); }

    static constexpr std::size_t most = 1000;  // and as many as have clients

  private:
    struct by_names {
        using is_transparent = void;
        bool operator()(auto const& a, auto const& b) const {
            int const database = std::string_view(a.first).compare(b.first);
            return database < 0 || (database == 0 && std::string_view(a.second) < std::string_view(b.second));
        }
    };
    std::map<std::pair<std::string, std::string>, sequence_habit, by_names> known_;
};

/// Who may have called nextval() in a server's session since that knew no values: nobody, several, or the client that
/// has drawn this number. It draws another for each server that it comes to write on, so that one server has it at most.
using value_owner = std::uint64_t;
inline constexpr value_owner no_values = 0;
inline constexpr value_owner values_of_several = 1;
inline constexpr value_owner first_owner = 3;

class client_sequences {
  public:
    explicit client_sequences(sequence_habit& habit) : habit_(habit) { ++habit_.clients; }
    ~client_sequences() { --habit_.clients; }
    client_sequences(client_sequences const&) = delete;
    client_sequences& operator=(client_sequences const&) = delete;

    sequence_use use() const { return habit_.use; }
    void note_use(sequence_use how) { habit_.use = std::max(habit_.use, how); }
    bool are_at(value_owner of_server) const { return of_server == own_; }
    /// There are none of others'.
    bool are_alone_at(value_owner of_server) const { return are_at(of_server) || of_server == no_values; }
    /// What the unit in hand asks there is this client's, or nothing.
    bool may_be_told(value_owner of_server) const { return told_ || are_alone_at(of_server); }

    /// It begins to write there.
    void write(value_owner& of_server, value_owner& last_drawn) {
        wrote_ = true;
        lost_ = !are_alone_at(of_server);
        if (are_at(of_server)) return;
        if (lost_) of_server = values_of_several;
        own_ = lost_ ? nowhere : of_server = ++last_drawn;
    }
    /// It asks there.
    void ask(value_owner of_server) { lost_ = lost_ || (wrote_ && !are_at(of_server)); }
    /// The server is told to forget what it knows.
    void forget(value_owner& of_server, value_owner& last_drawn) { own_ = of_server = ++last_drawn; }
    /// The server has not: it is told once more where it was canceled, and then whoever asks is told why.
    bool forgets_again(bool canceled) { return told_once_more_ = canceled && !told_once_more_; }
    /// What asks goes out, or its server is another's.
    void goes_out() { told_once_more_ = false; }
    /// It has written, and what nextval() said then cannot be told any more.
    bool lost() const { return lost_; }

    /// Of the unit in hand: whether it asks.
    void note_unit(bool asks) {
        asks_ = asks;
        told_ = false;
    }
    /// Whether its own transaction has called nextval(), as the server has said.
    enum class proof : std::uint8_t { none, own, not_own };
    void prove(proof what) { proof_ = what; }
    /// For the unit in hand, once.
    proof take_proof() {
        told_ = proof_ == proof::own;
        return std::exchange(proof_, proof::none);
    }
    /// The server that it is to run on, if that is free; no_values: any.
    value_owner sought() const { return asks_ && own_ != nowhere ? own_ : no_values; }

  private:
    static constexpr value_owner nowhere = 2;
    sequence_habit& habit_;
    value_owner own_ = nowhere;
    proof proof_ = proof::none;
    bool told_ = false;
    bool wrote_ = false;
    bool lost_ = false;
    bool asks_ = false;
    bool told_once_more_ = false;
};

}  // namespace lull
