// Which databases are paused, and for whom: by a PAUSE that is done, or by some that still wait. One that is given up
// undoes no other's. The empty name stands for all databases. Pure; any one thread.
#pragma once

#include <cstddef>
#include <map>
#include <string>

namespace lull {

class pause_book {
  public:
    /// A PAUSE begins to wait: settle() or give_up() follows, unless resume() ends it.
    void ask(std::string const& name) { ++entries_[name].waiting; }
    /// It is done: paused until somebody says RESUME.
    void settle(std::string const& name);
    /// Paused until then, without a wait.
    void keep(std::string const& name) { entries_[name].kept = true; }
    /// True: nobody else wants it, and it is paused no more.
    bool give_up(std::string const& name);
    /// What waits is ended with it, and is the caller's to tell. The empty name ends everything. False: nothing was paused.
    bool resume(std::string const& name);

    bool all() const { return entries_.contains(""); }
    bool stops(std::string const& database) const { return all() || entries_.contains(database); }

  private:
    struct entry {
        std::size_t waiting = 0;
        bool kept = false;
    };
    std::map<std::string, entry> entries_;
};

}  // namespace lull
