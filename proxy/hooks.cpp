#include "proxy/hooks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace lull {

namespace {

constexpr std::size_t most_waiting = 16;
constexpr std::size_t most_output = 2000;
constexpr int blocks_a_look = 16;
constexpr std::chrono::milliseconds look_again{50};

std::vector<char*> pointers(std::vector<std::string>& texts) {
    std::vector<char*> out;
    for (std::string& t : texts) out.push_back(t.data());
    out.push_back(nullptr);
    return out;
}

std::vector<std::string> environment_with(std::map<std::string, std::string> const& more) {
    std::vector<std::string> out;
    for (char** e = environ; *e; ++e) {
        std::string const entry = *e;
        if (!more.contains(entry.substr(0, entry.find('=')))) out.push_back(entry);
    }
    for (auto const& [name, value] : more) out.push_back(name + "=" + value.substr(0, value.find('\0')));
    return out;
}

/// spawn()'s attributes, freed at the end.
struct spawn_plan {
    posix_spawn_file_actions_t files{};
    posix_spawnattr_t attributes{};
    spawn_plan() {
        ::posix_spawn_file_actions_init(&files);
        ::posix_spawnattr_init(&attributes);
    }
    ~spawn_plan() {
        ::posix_spawn_file_actions_destroy(&files);
        ::posix_spawnattr_destroy(&attributes);
    }
};

}  // namespace

hook_runner::hook_runner(boost::asio::io_context& io, on_end end) : timer_(io), end_(std::move(end)) {}

hook_runner::~hook_runner() {
    if (output_ >= 0) ::close(output_);
    if (pid_ == 0) return;
    ::kill(-pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
}

void hook_runner::call(hook_call c) {
    if (c.command.empty()) return;
    if (waiting_.size() >= most_waiting) {
        auto dropped = std::find_if(waiting_.begin(), waiting_.end(),
                                    [](hook_call const& w) { return w.name != "on_exit"; });
        if (dropped == waiting_.end()) dropped = waiting_.begin();
        hook_call const gone = std::move(*dropped);
        waiting_.erase(dropped);
        end_({gone.name, gone.command.front(), false, false,
              "was not called: too many hooks of the site wait", "", std::chrono::system_clock::now()});
    }
    waiting_.push_back(std::move(c));
    if (pid_ == 0) start_next();
}

void hook_runner::start_next() {
    while (pid_ == 0 && !waiting_.empty()) {
        current_ = std::move(waiting_.front());
        waiting_.pop_front();
        printed_.clear();
        killed_ = false;
        started_ = std::chrono::steady_clock::now();
        if (std::string const why = spawn(); !why.empty()) {
            ended(false, "could not be started: " + why);
            continue;
        }
        look_later();
    }
}

/// Empty, or why it could not be started.
std::string hook_runner::spawn() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return std::strerror(errno);
    ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
    spawn_plan plan;
    ::posix_spawn_file_actions_addopen(&plan.files, 0, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_adddup2(&plan.files, ends[1], 1);
    ::posix_spawn_file_actions_adddup2(&plan.files, ends[1], 2);
    // Clients' sockets are not its business, and would stay open in what it leaves running.
    ::posix_spawn_file_actions_addclosefrom_np(&plan.files, 3);
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    ::posix_spawnattr_setsigdefault(&plan.attributes, &all);
    ::posix_spawnattr_setsigmask(&plan.attributes, &none);
    ::posix_spawnattr_setpgroup(&plan.attributes, 0);
    ::posix_spawnattr_setflags(&plan.attributes,
                               POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
    std::vector<std::string> command = current_.command;
    std::vector<std::string> environment = environment_with(current_.environment);
    pid_t pid = 0;
    int const error = ::posix_spawnp(&pid, command.front().c_str(), &plan.files, &plan.attributes,
                                     pointers(command).data(), pointers(environment).data());
    ::close(ends[1]);
    if (error != 0) {
        ::close(ends[0]);
        return std::strerror(error);
    }
    pid_ = pid;
    output_ = ends[0];
    return {};
}

void hook_runner::look_later() {
    timer_.expires_after(look_again);
    timer_.async_wait([this](boost::system::error_code const& error) {
        if (!error) look();
    });
}

void hook_runner::look() {
    read_output();
    auto const took =
        std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - started_);
    int status = 0;
    pid_t const gone = ::waitpid(pid_, &status, WNOHANG);
    if (gone == 0) {
        if (took >= current_.timeout && !killed_) {
            ::kill(-pid_, SIGKILL);
            killed_ = true;
        }
        return look_later();
    }
    read_output();
    std::string text;
    bool ok = false;
    if (killed_)
        text = fmt::format("was killed: it had not ended after {} ms", current_.timeout.count());
    else if (WIFEXITED(status))
        text = fmt::format("ended with status {} after {} ms", WEXITSTATUS(status), took.count());
    else
        text = fmt::format("was ended by signal {} after {} ms", WTERMSIG(status), took.count());
    ok = !killed_ && gone > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    pid_ = 0;
    ended(ok, std::move(text));
    start_next();
}

void hook_runner::read_output() {
    char block[4096];
    for (int i = 0; i < blocks_a_look; ++i) {  // one that prints without end waits, and its time ends
        ssize_t const n = ::read(output_, block, sizeof block);
        if (n <= 0) return;
        if (printed_.size() < most_output)
            printed_.append(block, std::min(static_cast<std::size_t>(n), most_output - printed_.size()));
    }
}

void hook_runner::ended(bool ok, std::string text) {
    if (output_ >= 0) ::close(output_);
    output_ = -1;
    end_({current_.name, current_.command.front(), ok, true, std::move(text), printed_,
          std::chrono::system_clock::now()});
}

}  // namespace lull
