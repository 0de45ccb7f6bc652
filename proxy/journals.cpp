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

void flush_folder(std::string const& folder) {
    int const fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    ::fsync(fd);
    ::close(fd);
}

std::string reason(char const* what, std::string const& path) {
    return std::string(what) + " " + path + ": " + std::strerror(errno);
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
    std::lock_guard const lock(mutex_);
    book& b = books_[site];
    std::error_code none;
    if (!std::filesystem::is_regular_file(path, none)) return out;
    std::ifstream file(path, std::ios::binary);
    std::string const bytes{std::istreambuf_iterator<char>(file), {}};
    if (!file.good() && !file.eof()) {
        out.problem = b.problem = "cannot read " + path;
        return out;
    }
    out.contents = read_journal(bytes);
    std::size_t const good = out.contents.good_bytes;
    if (good < bytes.size()) {
        // Also what a crash left half of: where the disk lied it may be more than that.
        std::string const copy = path + ".cut-" + std::to_string(now_us() / 1000);
        std::filesystem::copy_file(path, copy, none);
        if (!out.contents.damage.empty())
            out.problem = path + ": " + out.contents.damage +
                          "; entries behind it are lost to Lull (kept as " + copy + ")";
        else
            out.notice = path + ": its last " + std::to_string(bytes.size() - good) +
                         " bytes are an entry that was never answered (kept as " + copy + ")";
    }
    if (good < bytes.size() && ::truncate(path.c_str(), static_cast<off_t>(good)) != 0)
        out.problem = b.problem = reason("cannot cut the torn end of", path);
    b.contents = out.contents;
    b.bytes = good;
    if (!b.contents.entries.empty()) b.next = b.contents.entries.back().number + 1;
    return out;
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
        if (b.open) {
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
        std::string problem;
        if (!taken.empty()) {
            // The disk takes its time; nobody but close() waits for it, and record() has no business before
            // that.
            lock.unlock();
            problem = put(site, b, bytes, true);
            lock.lock();
        }
        b.problem = problem;
        if (problem.empty() && !taken.empty()) {
            b.bytes += bytes.size() + (b.bytes == 0 ? journal_header.size() : 0);
            for (wanted* w : taken) b.contents.entries.push_back(w->entry);
            b.next = next;
        }
        lock.unlock();
        for (std::size_t i = 0; i < all.size(); ++i) {
            bool const kept = outcomes[i] == journal_outcome::kept;
            all[i]->answer(kept && !problem.empty() ? journal_outcome::failed : outcomes[i]);
        }
        lock.lock();
        b.under_way -= all.size();
        idle_.notify_all();
    }
}

/// Behind what is good. Where it fails the file is as before, or will be cut there before the next.
std::string journals::put(std::string const& site, book& b, std::string const& bytes, bool durable) {
    std::string const path = path_of(site);
    bool const fresh = b.bytes == 0;
    if (b.fd < 0) b.fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (b.fd < 0) return reason("cannot open", path);
    auto give_up = [&](std::string why) {
        // What a flush has refused may or may not be there: it is written anew, from a new descriptor.
        if (::ftruncate(b.fd, static_cast<off_t>(b.bytes)) == 0) ::fsync(b.fd);
        ::close(std::exchange(b.fd, -1));
        return why;
    };
    if (::ftruncate(b.fd, static_cast<off_t>(b.bytes)) != 0 && errno != EINVAL)
        return give_up(reason("cannot write", path));
    std::string const all = fresh ? std::string(journal_header) + bytes : bytes;
    for (std::size_t done = 0; done < all.size();) {
        ssize_t const n =
            ::pwrite(b.fd, all.data() + done, all.size() - done, static_cast<off_t>(b.bytes + done));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return give_up(reason("cannot write", path));
        done += static_cast<std::size_t>(n);
    }
    if (durable && ::fdatasync(b.fd) != 0) return give_up(reason("cannot flush", path));
    if (fresh) flush_folder(folder_);
    return {};
}

std::string journals::record(std::string const& site, std::string const& bytes, bool durable) {
    std::lock_guard const lock(mutex_);
    book& b = books_[site];
    std::string const problem = put(site, b, bytes, durable);
    if (problem.empty()) b.bytes += bytes.size();
    return problem;
}

std::string journals::retire(std::string const& site, bool keep) {
    std::lock_guard const lock(mutex_);
    book& b = books_[site];
    if (b.fd >= 0) ::close(b.fd);
    b = book{};
    std::string const path = path_of(site);
    std::string kept;
    if (keep) {
        auto const stamp = std::to_string(now_us() / 1000);
        kept = folder_ + "/journal-" + site + "." + stamp + ".kept";
        if (::rename(path.c_str(), kept.c_str()) != 0) kept = path;
    } else {
        ::unlink(path.c_str());
    }
    flush_folder(folder_);
    return kept;
}

journals::counts journals::count(std::string const& site) {
    std::lock_guard const lock(mutex_);
    book const& b = books_[site];
    return {b.contents.pending(), b.bytes, b.problem};
}

std::vector<std::string> journals::kept_files(std::string const& site) const {
    std::vector<std::string> out;
    std::error_code none;
    std::string const prefix = "journal-" + site + ".";
    for (auto const& entry : std::filesystem::directory_iterator(folder_, none)) {
        std::string const name = entry.path().filename().string();
        std::string_view rest = name;
        if (!rest.starts_with(prefix) || !rest.ends_with(".kept")) continue;
        rest.remove_prefix(prefix.size());
        rest.remove_suffix(5);
        // Another site's name may begin as this one's does.
        if (!rest.empty() &&
            std::all_of(rest.begin(), rest.end(), [](char c) { return c >= '0' && c <= '9'; }))
            out.push_back(entry.path().string());
    }
    std::sort(out.begin(), out.end());
    return out;
}

}  // namespace lull
