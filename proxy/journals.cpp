#include "proxy/journals.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <unistd.h>
#include <utility>

namespace lull {

namespace {

// Entries that wait to be written, all sites together; bounded beside that by the clients, who each wait for
// one.
constexpr std::size_t most_queued = 100'000;

std::int64_t now_us() {
    return std::chrono::duration_cast<std::chrono::microseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
}

std::string reason(char const* what, std::string const& path) {
    return std::string(what) + " " + path + ": " + std::strerror(errno);
}

/// Empty, or why not. Where a file system knows no such thing (EINVAL), there is nothing to do.
std::string flush_folder(std::string const& folder) {
    int const fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return reason("cannot open", folder);
    bool const flushed = ::fsync(fd) == 0 || errno == EINVAL;
    std::string why = flushed ? std::string() : reason("cannot flush", folder);
    ::close(fd);
    return why;
}

/// Anew, and on the disk. Empty, or why not; then nothing is left of it.
std::string write_file(std::string const& path, std::string_view bytes) {
    int const fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return reason("cannot open", path);
    std::string why;
    while (why.empty() && !bytes.empty()) {
        ssize_t const n = ::write(fd, bytes.data(), bytes.size());
        if (n > 0)
            bytes.remove_prefix(static_cast<std::size_t>(n));
        else if (errno != EINTR)
            why = reason("cannot write", path);
    }
    if (why.empty() && ::fsync(fd) != 0) why = reason("cannot flush", path);
    ::close(fd);
    if (!why.empty()) ::unlink(path.c_str());
    return why;
}

/// Of a kept file, a journal with all its entries of which those that failed are to be run again. Empty: none is.
std::string what_to_run(std::string const& kept, std::string& problem) {
    std::ifstream file(kept, std::ios::binary);
    std::string const old{std::istreambuf_iterator<char>(file), {}};
    journal_contents const c = read_journal(old);
    std::error_code none;
    if (!c.damage.empty() || c.torn || old.size() != std::filesystem::file_size(kept, none)) {
        problem = kept + ": it cannot be read, or is damaged";
        return {};
    }
    // What failed is not there for certain. All else that has been decided stays so.
    std::string bytes(journal_header);
    bool some = false;
    for (journal_entry const& e : c.entries) {
        write_entry(bytes, e);
        auto const v = c.verdicts.find(e.number);
        if (v == c.verdicts.end() || v->second.result == journal_result::failed)
            some = true;
        else
            write_verdict(bytes, v->second);
    }
    if (c.intent) write_intent(bytes, *c.intent);
    return some ? bytes : std::string();
}

}  // namespace

journals::journals(std::string folder) : folder_(std::move(folder)), thread_([this] { run(); }) {}

journals::~journals() {
    {
        std::lock_guard const lock(mutex_);
        stop_ = true;
    }
    wake_.notify_all();
    thread_.join();
    for (auto& [site, b] : books_)
        if (b.fd >= 0) ::close(b.fd);
}

std::string journals::path_of(std::string const& site) const {
    return folder_ + "/journal-" + site + ".log";
}

journals::loaded journals::load(std::string const& site) {
    loaded out;
    std::string const path = path_of(site);
    std::unique_lock lock(mutex_);
    book& b = books_[site];
    idle_.wait(lock, [&] { return b.under_way == 0; });
    if (b.fd >= 0) ::close(b.fd);
    bool const open = b.open;
    b = book{};
    b.open = open;
    std::error_code none;
    if (!std::filesystem::is_regular_file(path, none)) return out;
    auto stays = [&](std::string why) {
        b.broken = true;
        out.contents = {};
        out.problem = b.problem = path + ": " + why;
        return out;
    };
    std::ifstream file(path, std::ios::binary);
    std::string const bytes{std::istreambuf_iterator<char>(file), {}};
    if (!file.good() || bytes.size() != std::filesystem::file_size(path, none)) return stays("it cannot be read");
    out.contents = read_journal(bytes);
    if (!out.contents.damage.empty())
        return stays(out.contents.damage +
                     "; none of its writes are run, and no more are journaled. `lull journal " + site +
                     "` shows what can be read. When you have put that right by hand: mv " + path + " " + path +
                     ".damaged && lull reload");
    std::size_t const good = out.contents.good_bytes;
    if (good < bytes.size()) {
        // Where the disk lied it may be more than half of an entry.
        std::string const copy = path + ".cut-" + std::to_string(now_us() / 1000);
        if (std::string const why = write_file(copy, std::string_view(bytes).substr(good)); !why.empty())
            return stays("its torn end is not cut off, because it could not be kept: " + why);
        flush_folder(folder_);
        if (::truncate(path.c_str(), static_cast<off_t>(good)) != 0)
            return stays(reason("cannot cut the torn end of", path));
        out.notice = path + ": its last " + std::to_string(bytes.size() - good) +
                     " bytes are an entry that was never answered (kept as " + copy + ")";
    }
    b.contents = out.contents;
    b.bytes = good;
    if (!b.contents.entries.empty()) b.next = b.contents.entries.back().number + 1;
    return out;
}

bool journals::broken(std::string const& site) {
    std::lock_guard const lock(mutex_);
    return books_[site].broken;
}

std::string journals::take_back(std::string const& site, std::string& problem) {
    auto const kept = kept_files(site);
    std::string const path = path_of(site);
    std::error_code none;
    if (kept.empty()) return {};
    if (std::filesystem::exists(path, none)) {
        problem = path + " is in the way";
        return {};
    }
    std::string from, bytes;
    for (std::string const& one : kept) {
        bytes = what_to_run(one, problem);
        if (bytes.empty()) continue;
        from = one;
        break;
    }
    if (from.empty()) return {};
    std::string const fresh = from + ".new";
    problem = write_file(fresh, bytes);
    if (!problem.empty()) return {};
    // Two steps, each of which leaves every entry in one file.
    if (::rename(fresh.c_str(), from.c_str()) != 0 || ::rename(from.c_str(), path.c_str()) != 0) {
        problem = reason("cannot rename", from);
        return {};
    }
    flush_folder(folder_);
    return from;
}

void journals::open(std::string const& site) {
    std::lock_guard const lock(mutex_);
    books_[site].open = true;
}

journal_contents journals::close(std::string const& site) {
    std::unique_lock lock(mutex_);
    book& b = books_[site];
    b.open = false;
    idle_.wait(lock, [&] { return b.under_way == 0; });
    return b.contents;
}

void journals::append(std::string const& site, config::journal_limits const& limits, journal_entry entry,
                      then answer) {
    journal_outcome outcome = journal_outcome::closed;
    {
        std::lock_guard const lock(mutex_);
        book& b = books_[site];
        if (b.open && b.broken) {
            outcome = journal_outcome::failed;
        } else if (b.open) {
            if (queue_.size() < most_queued) {
                ++b.under_way;
                queue_.push_back({site, limits, std::move(entry), std::move(answer)});
                wake_.notify_one();
                return;
            }
            outcome = journal_outcome::full;
        }
    }
    answer(outcome);
}

void journals::run() {
    std::vector<wanted> batch;
    for (;;) {
        {
            std::unique_lock lock(mutex_);
            wake_.wait(lock, [&] { return stop_ || !queue_.empty(); });
            if (queue_.empty()) return;  // what was taken is written before the end
            batch.swap(queue_);
        }
        write(batch);
        batch.clear();
    }
}

/// All that has come in the meantime, a flush for each site.
void journals::write(std::vector<wanted>& batch) {
    std::map<std::string, std::vector<wanted*>> by_site;
    for (wanted& w : batch) by_site[w.site].push_back(&w);
    for (auto& [site, all] : by_site) {
        std::vector<journal_outcome> outcomes;
        std::string bytes;
        std::vector<wanted*> taken;
        std::unique_lock lock(mutex_);
        book& b = books_[site];
        std::uint64_t next = b.next;
        for (wanted* w : all) {
            std::string one;
            w->entry.number = next;
            w->entry.received_us = now_us();
            write_entry(one, w->entry);
            bool const fits =
                b.contents.entries.size() + taken.size() < w->limits.max_count &&
                std::max(b.bytes, journal_header.size()) + bytes.size() + one.size() <= w->limits.max_bytes;
            outcomes.push_back(fits ? journal_outcome::kept : journal_outcome::full);
            if (!fits) continue;
            bytes += one;
            taken.push_back(w);
            ++next;
        }
        // One that broke while these waited takes nothing behind what may be there or not.
        bool const broken = b.broken;
        written done{b.broken ? b.problem : std::string(), true};
        if (!taken.empty() && !broken) {
            // The disk takes its time; nobody but close() waits for it, and record() has no business before
            // that.
            lock.unlock();
            done = put(site, b, bytes, true);
            lock.lock();
        }
        b.problem = done.problem;
        if (!done.certain) {
            b.broken = true;
            b.problem += "; nothing is journaled any more until that is mended: then run lull reload";
        }
        if (done.problem.empty() && !taken.empty()) {
            b.bytes += bytes.size() + (b.bytes == 0 ? journal_header.size() : 0);
            for (wanted* w : taken) b.contents.entries.push_back(w->entry);
            b.next = next;
        }
        lock.unlock();
        for (std::size_t i = 0; i < all.size(); ++i) {
            bool const kept = outcomes[i] == journal_outcome::kept;
            if (kept && !done.certain)
                outcomes[i] = journal_outcome::unknown;
            else if (kept && !done.problem.empty())
                outcomes[i] = journal_outcome::failed;
            all[i]->answer(outcomes[i]);
        }
        lock.lock();
        b.under_way -= all.size();
        idle_.notify_all();
    }
}

/// Behind what is good. Where it fails the file is as before, unless it is said not to be certain.
journals::written journals::put(std::string const& site, book& b, std::string const& bytes, bool durable) {
    std::string const path = path_of(site);
    bool const fresh = b.bytes == 0;
    if (b.fd < 0) b.fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (b.fd < 0) return {reason("cannot open", path)};
    auto cut = [&] {  // EINVAL: not a file at all, which keeps nothing either
        return (::ftruncate(b.fd, static_cast<off_t>(b.bytes)) == 0 || errno == EINVAL) &&
               (::fsync(b.fd) == 0 || errno == EINVAL);
    };
    auto give_up = [&](std::string why) {
        // What a flush has refused may or may not be there: it is written anew, from a new descriptor.
        bool const certain = cut();
        if (!certain) why += "; and " + reason("cannot take it back from", path);
        ::close(std::exchange(b.fd, -1));
        return written{std::move(why), certain};
    };
    if (::ftruncate(b.fd, static_cast<off_t>(b.bytes)) != 0 && errno != EINVAL) {
        std::string const why = reason("cannot write", path);
        ::close(std::exchange(b.fd, -1));
        return {why};
    }
    std::string const all = fresh ? std::string(journal_header) + bytes : bytes;
    for (std::size_t done = 0; done < all.size();) {
        ssize_t const n =
            ::pwrite(b.fd, all.data() + done, all.size() - done, static_cast<off_t>(b.bytes + done));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return give_up(reason("cannot write", path));
        done += static_cast<std::size_t>(n);
    }
    if (durable && ::fdatasync(b.fd) != 0) return give_up(reason("cannot flush", path));
    if (durable && !b.named) {
        if (std::string why = flush_folder(folder_); !why.empty()) return give_up(std::move(why));
        b.named = true;
    }
    return {};
}

std::string journals::record(std::string const& site, std::string const& bytes, bool durable) {
    // Nobody else writes to a closed one; the other sites do not wait for its disk.
    std::unique_lock lock(mutex_);
    book& b = books_[site];
    lock.unlock();
    written const done = put(site, b, bytes, durable);
    lock.lock();
    if (done.problem.empty()) b.bytes += bytes.size();
    return done.problem;
}

std::string journals::retire(std::string const& site, bool keep) {
    std::lock_guard const lock(mutex_);
    book& b = books_[site];
    std::string const path = path_of(site);
    std::string kept;
    if (keep) kept = folder_ + "/journal-" + site + "." + std::to_string(now_us() / 1000) + ".kept";
    bool const gone =
        keep ? ::rename(path.c_str(), kept.c_str()) == 0 : ::unlink(path.c_str()) == 0 || errno == ENOENT;
    if (!gone) {
        b.problem = reason(keep ? "cannot rename" : "cannot remove", path) +
                    "; nothing is journaled any more until that is mended: then run lull reload";
        b.broken = true;
        return path;
    }
    if (b.fd >= 0) ::close(b.fd);
    b = book{};
    flush_folder(folder_);
    return kept;
}

journals::counts journals::count(std::string const& site) {
    std::lock_guard const lock(mutex_);
    book const& b = books_[site];
    return {b.contents.pending(), b.bytes, b.problem};
}

/// With nothing but digits between.
std::vector<std::string> journals::files(std::string const& prefix, std::string_view suffix) const {
    std::vector<std::string> out;
    std::error_code none;
    for (auto const& entry : std::filesystem::directory_iterator(folder_, none)) {
        std::string const name = entry.path().filename().string();
        std::string_view rest = name;
        if (!rest.starts_with(prefix) || !rest.ends_with(suffix)) continue;
        rest.remove_prefix(prefix.size());
        if (rest.size() <= suffix.size()) continue;
        rest.remove_suffix(suffix.size());
        // Another site's name may begin as this one's does.
        if (std::all_of(rest.begin(), rest.end(), [](char c) { return c >= '0' && c <= '9'; }))
            out.push_back(entry.path().string());
    }
    std::sort(out.begin(), out.end());
    return out;
}

std::vector<std::string> journals::kept_files(std::string const& site) const {
    return files("journal-" + site + ".", ".kept");
}

std::vector<journals::stray> journals::strays(std::set<std::string> const& sites) const {
    std::vector<stray> out;
    std::error_code none;
    for (auto const& entry : std::filesystem::directory_iterator(folder_, none)) {
        std::string const name = entry.path().filename().string();
        std::string_view site = name;
        if (!site.starts_with("journal-")) continue;
        site.remove_prefix(std::string_view("journal-").size());
        if (site.ends_with(".log")) {
            site.remove_suffix(std::string_view(".log").size());
        } else if (site.ends_with(".kept")) {
            site.remove_suffix(std::string_view(".kept").size());
            site = site.substr(0, site.rfind('.'));  // and the time
        } else {
            continue;
        }
        if (sites.contains(std::string(site))) continue;
        std::ifstream file(entry.path(), std::ios::binary);
        journal_contents const c = read_journal(std::string{std::istreambuf_iterator<char>(file), {}});
        auto const undone = [&](journal_entry const& e) {
            auto const v = c.verdicts.find(e.number);
            return v == c.verdicts.end() || v->second.result == journal_result::failed;
        };
        auto const writes = std::count_if(c.entries.begin(), c.entries.end(), undone);
        if (writes > 0 || !c.damage.empty())
            out.push_back({std::string(site), entry.path().string(), static_cast<std::size_t>(writes)});
    }
    std::sort(out.begin(), out.end(), [](stray const& a, stray const& b) { return a.file < b.file; });
    return out;
}

std::vector<std::string> journals::cut_files(std::string const& site) const {
    return files("journal-" + site + ".log.cut-", "");
}

}  // namespace lull
