#include "config/text_file.hpp"

#include "config/duration.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

namespace lull::config {
namespace {

struct descriptor {
    int fd;
    explicit descriptor(int opened) : fd(opened) {}
    descriptor(descriptor const&) = delete;
    descriptor& operator=(descriptor const&) = delete;
    ~descriptor() {
        if (fd >= 0) ::close(fd);
    }
};

file_error failed(int error) {
    std::string fix;
    if (error == ENOENT || error == ENOTDIR) {
        fix = "check the path; nothing of that name is there";
    } else if (error == EACCES || error == EPERM) {
        fix = "let the user that runs lull read it, for instance: chgrp lull FILE && chmod 0640 FILE";
    } else {
        fix = "make it a readable file";
    }
    return {"cannot read it: " + std::generic_category().message(error), fix, error == ENOENT};
}

}  // namespace

std::variant<text_file, file_error> read_text_file(std::string const& path, std::size_t most_bytes) {
    if (path.empty()) return file_error{"no file named", "name one"};
    if (path.find('\0') != std::string::npos) return file_error{"a NUL byte in the path", "check the path"};
    // Non-blocking: opening a FIFO would wait for a writer for ever.
    descriptor const file(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
    if (file.fd < 0) return failed(errno);
    struct stat facts {};
    if (::fstat(file.fd, &facts) != 0) return failed(errno);
    if (S_ISDIR(facts.st_mode)) return file_error{"it is a folder, not a file", "name the file in it"};
    if (!S_ISREG(facts.st_mode))
        return file_error{"it is not an ordinary file", "copy its content into a file"};
    text_file out;
    out.others_may_read = (facts.st_mode & S_IROTH) != 0;
    // One byte more than allowed tells a file that is too large, whatever its size was a moment ago.
    out.bytes.resize(most_bytes + 1);
    std::size_t filled = 0;
    while (filled < out.bytes.size()) {
        auto const got = ::read(file.fd, out.bytes.data() + filled, out.bytes.size() - filled);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return failed(errno);
        if (got == 0) break;
        filled += static_cast<std::size_t>(got);
    }
    if (filled > most_bytes)
        return file_error{"it is larger than " + format_size(most_bytes), "check that it is the right file"};
    out.bytes.resize(filled);
    return out;
}

std::variant<std::vector<std::string>, file_error> files_of_folder(std::string const& path, std::string_view ending) {
    std::error_code failure;
    std::vector<std::string> out;
    std::filesystem::directory_iterator at(path, failure);
    for (; !failure && at != std::filesystem::directory_iterator(); at.increment(failure)) {
        std::string const name = at->path().filename().string();
        std::error_code unknown;
        if (!name.starts_with('.') && name.size() > ending.size() && name.ends_with(ending) && !at->is_directory(unknown))
            out.push_back(at->path().string());
    }
    if (failure) return failed(failure.value());
    std::sort(out.begin(), out.end());
    return out;
}

}  // namespace lull::config
