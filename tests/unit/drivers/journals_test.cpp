// The journals' files on disks that fail.
#include "proxy/journals.hpp"

#include <doctest/doctest.h>

#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <optional>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

using namespace lull;
namespace fs = std::filesystem;

namespace {

struct folder {
    folder() {
        char name[] = "/tmp/lull-journals-XXXXXX";
        path = ::mkdtemp(name);
    }
    ~folder() { fs::remove_all(path); }
    std::string path;
};

/// No file of this process grows beyond this while it lives.
class full_disk {
  public:
    explicit full_disk(rlim_t bytes) {
        ::getrlimit(RLIMIT_FSIZE, &before_);
        before_signal_ = std::signal(SIGXFSZ, SIG_IGN);
        rlimit const now{bytes, before_.rlim_max};
        ::setrlimit(RLIMIT_FSIZE, &now);
    }
    ~full_disk() {
        ::setrlimit(RLIMIT_FSIZE, &before_);
        std::signal(SIGXFSZ, before_signal_);
    }

  private:
    rlimit before_{};
    void (*before_signal_)(int) = nullptr;
};

journal_entry entry(std::size_t bytes) {
    return {.database = "shop", .user = "app", .text = std::string(bytes, 'x'), .tag = "INSERT 0 1"};
}

/// What became of it.
journal_outcome put(journals& books, std::size_t bytes) {
    std::mutex mutex;
    std::condition_variable wake;
    std::optional<journal_outcome> got;
    books.append("shop", {}, entry(bytes), [&](journal_outcome outcome) {
        std::lock_guard const lock(mutex);
        got = outcome;
        wake.notify_all();
    });
    std::unique_lock lock(mutex);
    wake.wait(lock, [&] { return got.has_value(); });
    return *got;
}

constexpr rlim_t room = 64 * 1024;
constexpr std::size_t too_much = 100 * 1024;

}  // namespace

TEST_CASE("an entry that the disk takes in part is taken back, and the next finds room") {
    folder at;
    journals books(at.path);
    books.open("shop");
    CHECK(put(books, 10) == journal_outcome::kept);
    {
        full_disk const full(room);
        CHECK(put(books, too_much) == journal_outcome::failed);
        CHECK(books.count("shop").problem.find("cannot write") != std::string::npos);
        CHECK(put(books, 20) == journal_outcome::kept);
    }
    CHECK(books.count("shop").problem.empty());
    CHECK_FALSE(books.broken("shop"));
    journals after(at.path);
    CHECK(after.load("shop").contents.entries.size() == 2);
}

TEST_CASE("an entry that can be neither written nor taken back is not called refused, and nothing comes behind it") {
    folder at;
    int const sealed = ::memfd_create("journal", MFD_ALLOW_SEALING);
    REQUIRE(sealed >= 0);
    REQUIRE(::fcntl(sealed, F_ADD_SEALS, F_SEAL_SHRINK) == 0);
    fs::create_symlink("/proc/self/fd/" + std::to_string(sealed), at.path + "/journal-shop.log");
    journals books(at.path);
    books.open("shop");
    CHECK(put(books, 10) == journal_outcome::kept);
    {
        full_disk const full(room);
        CHECK(put(books, too_much) == journal_outcome::unknown);
    }
    CHECK(books.broken("shop"));
    CHECK(books.count("shop").problem.find("cannot take it back") != std::string::npos);
    CHECK(put(books, 10) == journal_outcome::failed);
    CHECK(books.close("shop").entries.size() == 1);
    ::close(sealed);
}

TEST_CASE("what other sites have left undone is found, whatever their names, and what is done is not") {
    folder at;
    auto const file = [&](std::string const& name, std::optional<journal_result> result) {
        std::string bytes(journal_header);
        journal_entry e = entry(10);
        e.number = 1;
        write_entry(bytes, e);
        if (result) write_verdict(bytes, {1, *result, "", ""});
        std::ofstream(at.path + "/" + name, std::ios::binary) << bytes;
    };
    file("journal-shop.log", std::nullopt);
    file("journal-shop.1700000000000.kept", journal_result::failed);
    file("journal-a.b-c.log", std::nullopt);
    file("journal-a.b-c.1700000000000.kept", journal_result::failed);
    file("journal-over.log", journal_result::done);
    file("journal-seen.1700000000000.kept", journal_result::unknown);  // decided: nothing can be run again
    file("journal-shop.log.cut-1700000000000", std::nullopt);
    std::ofstream(at.path + "/journal-bad.log") << "no journal";
    journals const books(at.path);
    auto const found = books.strays({"shop"});
    REQUIRE(found.size() == 3);
    CHECK(found[0].site == "a.b-c");
    CHECK(found[0].writes == 1);
    CHECK(found[1].site == "a.b-c");
    CHECK(found[2].site == "bad");
    CHECK(books.strays({"shop", "a.b-c", "bad"}).empty());
}
