// The journals of all sites: writes that were answered while a site was sealed, and are run when the window
// is over. STATE_DIR/journal-SITE.log; made with the first entry, gone when every entry is done. One thread
// writes and flushes, for many entries at once; callers wait for nobody. Any thread.
#pragma once

#include "config/model.hpp"
#include "proxy/journal_format_core.hpp"

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace lull {

class journals {
  public:
    using then = std::function<void(journal_outcome)>;

    explicit journals(std::string folder);
    ~journals();
    journals(journals const&) = delete;
    journals& operator=(journals const&) = delete;

    struct loaded {
        journal_contents contents;
        std::string problem;  // for the operator: damaged, unreadable; what is readable is in `contents`
        std::string notice;   // for the log: an end was cut off
    };
    /// Reads what a process before us left, and cuts off a torn end, which is kept as a file of its own. What is
    /// damaged stays as it is: nothing of it is run (what became of its entries may be in what is lost), and no
    /// entries are taken. For a closed one, or one that is broken().
    loaded load(std::string const& site);
    /// Takes no entries until it is loaded again, successfully.
    bool broken(std::string const& site);
    /// For one that is closed and has no file: the oldest kept file with entries that failed or were not run becomes
    /// it, and these are to be run. Its name; or empty: there is none, or why not is in `problem`.
    std::string take_back(std::string const& site, std::string& problem);
    /// From here on entries are taken, until close().
    void open(std::string const& site);
    /// Entries that come later are answered `closed`; those under way are on the disk, or answered otherwise,
    /// when this returns. The contents, for who replays them.
    journal_contents close(std::string const& site);
    /// `answer` is called on the journals' thread, once the entry is on the disk, or will never be.
    void append(std::string const& site, config::journal_limits const& limits, journal_entry entry,
                then answer);
    /// For a closed one: a record of the replay. With `durable` it is on the disk when this returns. Empty,
    /// or why not.
    std::string record(std::string const& site, std::string const& bytes, bool durable);
    /// For a closed one: over. Everything done: it is removed. Otherwise it is kept under another name, which
    /// is returned. Where the folder does not let us, it stays, and is broken().
    std::string retire(std::string const& site, bool keep);

    struct counts {
        std::size_t pending = 0;
        std::size_t bytes = 0;
        std::string problem;  // why entries are not taken
    };
    counts count(std::string const& site);
    std::string path_of(std::string const& site) const;
    /// Files of earlier windows with entries that failed or were not run, oldest first.
    std::vector<std::string> kept_files(std::string const& site) const;
    struct stray {
        std::string site;
        std::string file;
        std::size_t writes = 0;  // that failed or were not run; where it is damaged, as far as it can be read
    };
    /// Journals and kept files of other sites than these, which nobody runs.
    std::vector<stray> strays(std::set<std::string> const& sites) const;
    /// Ends that were cut off, oldest first.
    std::vector<std::string> cut_files(std::string const& site) const;

  private:
    struct book {
        journal_contents contents;  // of the file
        std::uint64_t next = 1;
        std::size_t bytes = 0;  // of the file, as far as it is good
        int fd = -1;
        bool open = false;
        bool named = false;     // its name is on the disk, and not only what is in it
        bool broken = false;    // no entries are taken, for `problem`
        std::size_t under_way = 0;  // entries that are queued or being written
        std::string problem;
    };
    struct wanted {
        std::string site;
        config::journal_limits limits;
        journal_entry entry;
        then answer;
    };
    void run();
    void write(std::vector<wanted>& batch);
    struct written {
        std::string problem;   // empty: it is there
        bool certain = true;   // with a problem: it is not there, and will not come back
    };
    written put(std::string const& site, book& b, std::string const& bytes, bool durable);
    std::vector<std::string> files(std::string const& prefix, std::string_view suffix) const;

    std::string const folder_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::condition_variable idle_;
    std::map<std::string, book> books_;
    std::vector<wanted> queue_;
    bool stop_ = false;
    std::thread thread_;
};

}  // namespace lull
