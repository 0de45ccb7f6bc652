#include "proxy/state_file.hpp"

#include <cerrno>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace lull {

namespace {

constexpr std::size_t largest_file = 16 * 1024 * 1024;

/// Writes all of it and flushes; 0 or the errno.
int write_durably(int fd, std::string_view text) {
    while (!text.empty()) {
        ssize_t const n = ::write(fd, text.data(), text.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno;
        text.remove_prefix(static_cast<std::size_t>(n));
    }
    return ::fsync(fd) == 0 ? 0 : errno;
}

/// -1: errno says why.
int open_folder(std::string const& folder) {
    return ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/// Closes it too. 0 or the errno.
int flush_folder(int fd) {
    if (fd < 0) return errno;
    int const result = ::fsync(fd) == 0 ? 0 : errno;
    ::close(fd);
    return result;
}

}  // namespace

state_file::state_file(std::string folder, std::size_t longest_audit)
    : folder_(std::move(folder)), longest_audit_(longest_audit) {
    std::error_code error;
    if (!std::filesystem::exists(folder_, error)) {
        auto const parent = std::filesystem::path(folder_).parent_path();
        std::filesystem::create_directories(parent, error);
        if (::mkdir(folder_.c_str(), 0700) != 0 && errno != EEXIST)
            throw std::runtime_error("cannot make the state folder " + folder_ + ": " + std::strerror(errno) +
                                     "; make it, or set state_dir");
        // A folder that a power cut takes along would be one without any window. Where its parent may not be read
        // somebody else has made that, and has to care.
        flush_folder(open_folder(parent.empty() ? "." : parent.string()));
    }
    std::string const path = folder_ + "/lock";
    lock_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock_ < 0)
        throw std::runtime_error("cannot open " + path + ": " + std::strerror(errno) +
                                 "; is state_dir writable?");
    if (::flock(lock_, LOCK_EX | LOCK_NB) != 0) {
        char pid[32] = "";
        ssize_t const n = ::pread(lock_, pid, sizeof pid - 1, 0);
        std::string const who = n > 0 ? std::string(pid, static_cast<std::size_t>(n)) : "unknown";
        ::close(lock_);
        throw std::runtime_error("the state folder " + folder_ + " is in use by another lull (pid " +
                                 who.substr(0, who.find('\n')) +
                                 "); stop it, or give this one a state_dir of its own");
    }
    std::string const pid = std::to_string(::getpid()) + "\n";
    if (::ftruncate(lock_, 0) != 0 || ::pwrite(lock_, pid.data(), pid.size(), 0) < 0) {
        // Only the message to a second process suffers.
    }
}

state_file::~state_file() {
    if (lock_ >= 0) ::close(lock_);
}

state_file::loaded state_file::load() const {
    loaded result;
    std::string const path = folder_ + "/state.json";
    std::error_code error;
    auto const size = std::filesystem::file_size(path, error);
    if (error == std::errc::no_such_file_or_directory) {
        // A window may have been open: the audit file, which only grows, tells whether there ever was one.
        auto const exists = [&](char const* name) {
            auto const size = std::filesystem::file_size(folder_ + name, error);
            return !error && size > 0;
        };
        if (!exists("/audit.jsonl") && !exists("/audit.jsonl.1"))
            result.fresh = true;
        else
            result.problem = path + " is missing, although there were maintenance windows before";
        return result;
    }
    if (error) {
        result.problem = "cannot read " + path + ": " + error.message();
        return result;
    }
    if (size > largest_file) {
        result.problem = path + " is larger than a state can be";
        return result;
    }
    std::ifstream in(path, std::ios::binary);
    std::string const text{std::istreambuf_iterator<char>(in), {}};
    if (!in.good() && !in.eof()) {
        result.problem = "cannot read " + path;
        return result;
    }
    auto parsed = parse_state(text);
    if (auto* problem = std::get_if<std::string>(&parsed)) {
        result.problem = path + ": " + *problem;
        // The next save replaces it; somebody may want to look, or go back to the newer version.
        std::string const copy = path + ".unreadable-" + std::to_string(std::time(nullptr));
        if (::link(path.c_str(), copy.c_str()) == 0) result.problem += " (kept as " + copy + ")";
    } else
        result.records = std::move(std::get<maintenance_records>(parsed));
    return result;
}

state_file::saved state_file::save(maintenance_records const& records) {
    std::string const path = folder_ + "/state.json";
    std::string const fresh = path + ".new";
    // First, so that what can fail behind the rename is the disk alone.
    int const folder = open_folder(folder_);
    if (folder < 0) return {"cannot open the folder " + folder_ + ": " + std::strerror(errno), false};
    auto failed = [&](char const* what, int why) {
        ::unlink(fresh.c_str());
        ::close(folder);
        return saved{std::string(what) + " " + fresh + ": " + std::strerror(why), false};
    };
    int const fd = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return failed("cannot open", errno);
    int why = write_durably(fd, format_state(records));
    if (::close(fd) != 0 && why == 0) why = errno;
    if (why != 0) return failed("cannot write", why);
    if (::rename(fresh.c_str(), path.c_str()) != 0) return failed("cannot rename", errno);
    if (int const e = flush_folder(folder))
        return {"cannot flush the folder " + folder_ + ": " + std::strerror(e), true};
    return {{}, true};
}

state_file::audited state_file::audit(std::string_view line) {
    std::string const path = folder_ + "/audit.jsonl";
    int const fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) return {"cannot open " + path + ": " + std::strerror(errno), false};
    struct stat before {
    }, now{};
    char last = '\n';
    bool const known = ::fstat(fd, &before) == 0;
    // A line that a crash has torn stays one of its own.
    if (known && before.st_size > 0 && ::pread(fd, &last, 1, before.st_size - 1) != 1) last = '\n';
    int const why = write_durably(fd, (last == '\n' ? "" : "\n") + std::string(line) + "\n");
    if (why != 0 && known && ::ftruncate(fd, before.st_size) != 0) {
        // The next line begins with the end of this one.
    }
    bool const full = ::fstat(fd, &now) == 0 && static_cast<std::size_t>(now.st_size) > longest_audit_;
    ::close(fd);
    bool const rotated = full && ::rename(path.c_str(), (path + ".1").c_str()) == 0;
    if (rotated) flush_folder(open_folder(folder_));
    return {why == 0 ? std::string() : "cannot write " + path + ": " + std::strerror(why), rotated};
}

}  // namespace lull
