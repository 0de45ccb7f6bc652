#include "proxy/state_file.hpp"

#include <doctest/doctest.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <set>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace lull;
using namespace lull::routing;
namespace fs = std::filesystem;

namespace {

/// What fsync() does to folders, by the name that the system has for them.
bool folders_flush = true;
std::set<std::string> flushed_folders;

}  // namespace

/// In place of that of libc, in this program.
extern "C" int fsync(int fd) {
    std::error_code error;
    auto const path = fs::read_symlink("/proc/self/fd/" + std::to_string(fd), error);
    if (!error && fs::is_directory(path, error)) {
        if (!folders_flush) {
            errno = EIO;
            return -1;
        }
        flushed_folders.insert(path.string());
    }
    return static_cast<int>(::syscall(SYS_fsync, fd));
}

namespace {

struct folder {
    folder() {
        char name[] = "/tmp/lull-state-XXXXXX";
        path = ::mkdtemp(name);
    }
    ~folder() { fs::remove_all(path); }
    std::string path;
};

wall_time at(long long seconds) {
    return wall_time(std::chrono::seconds(seconds));
}

/// Everything set, so that a forgotten member shows.
maintenance_record full() {
    maintenance_record r;
    r.phase = phase::sealed;
    r.epoch = epoch{41};
    r.request.reason = "new \"prices\"\n\xe2\x82\xac";
    r.request.owner = "root@db1";
    r.request.until = at(1'700'000'600);
    r.request.drain_timeout = config::milliseconds(1500);
    r.request.on_deadline = config::on_deadline::terminate;
    r.request.freeze = false;
    r.request.as = "schedule";
    r.request.since = at(1'700'000'002);
    r.request.lease = config::milliseconds(60'000);
    r.request.on_lease_end = lease_end::reopen;
    r.others = {r.request, r.request};
    r.others[1].as = "operator";
    r.since = at(1'700'000'000);
    r.sealed_lsn = lsn{0x16B374D848};
    r.sealed_at = at(1'700'000'001);
    r.sealed_epoch = epoch{40};
    r.replicas = {{"10.0.0.2:5432", lsn{0x16B374D900}}, {"[::1]:5433", std::nullopt}};
    r.fence = {{"shop", "", 16384, 0, std::nullopt, false}, {"shop", "reports", 16384, 16390, "off", true}};
    r.waited_for = {"pid 7"};
    r.databases = {"shop", "stock"};
    r.at_sealing = {"100:110:100,105", {7, 8}};
    r.marks = {{110, true, ""}, {111, false, "pid 9"}};
    r.last_window = past_window{.epoch = epoch{36},
                                .reason = "x",
                                .owner = "y",
                                .sealed_lsn = lsn{1},
                                .sealed_at = at(1),
                                .finish_lsn = lsn{2},
                                .reopened_at = at(2),
                                .waited_for = {"z"},
                                .at_sealing = {"1:2:", {3, 4}},
                                .at_end = {"5:6:", {7, 8}},
                                .marks = {{1, false, "w"}}};
    return r;
}

std::string text_of(std::string const& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

void write(std::string const& path, std::string_view text) {
    std::ofstream(path, std::ios::binary) << text;
}

}  // namespace

TEST_CASE("a state is read as it was written") {
    maintenance_records records{{"shop", full()}, {"blog", {}}};
    for (auto const p : {phase::read_write, phase::draining, phase::sealing, phase::reopening}) {
        records["site" + std::to_string(static_cast<int>(p))].phase = p;
    }
    auto const read = parse_state(format_state(records));
    REQUIRE(std::holds_alternative<maintenance_records>(read));
    CHECK(std::get<maintenance_records>(read) == records);
    CHECK(highest_epoch(records) == 41);
}

TEST_CASE("the audit file is bounded, and still tells that there were windows") {
    folder f;
    state_file state(f.path, 100);
    int rotated = 0;
    for (int i = 0; i < 50; ++i) {
        auto const done = state.audit("{\"line\": " + std::to_string(i) + "}");
        CHECK(done.error.empty());
        CHECK(done.rotated == !fs::exists(f.path + "/audit.jsonl"));
        rotated += done.rotated;
    }
    CHECK(rotated > 2);
    CHECK(fs::file_size(f.path + "/audit.jsonl.1") < 200);
    CHECK(text_of(f.path + "/audit.jsonl.1").find("\"line\": 4") != std::string::npos);
    fs::remove(f.path + "/audit.jsonl");
    auto const loaded = state.load();
    CHECK_FALSE(loaded.fresh);
    CHECK(loaded.problem.find("missing") != std::string::npos);
}

TEST_CASE("the state of an older Lull is taken over") {
    auto const read = parse_state(
        R"({"version":1,"epoch":5,"sites":{"shop":{"phase":"sealed","epoch":5,"since":1,"request":{"reason":"r",
        "owner":"o","until":null,"drain_timeout_ms":1,"on_deadline":"wait","freeze":true},"sealed_lsn":"0/10",
        "sealed_at":1,"sealed_epoch":4,"replicas":[],"waited_for":[],"last_window":null}}})");
    REQUIRE(std::holds_alternative<maintenance_records>(read));
    auto const& shop = std::get<maintenance_records>(read).at("shop");
    CHECK(shop.phase == phase::sealed);
    CHECK(shop.request.as == default_claim);
    CHECK(shop.request.reason == "r");
    CHECK(shop.others.empty());
}

TEST_CASE("bytes that are no UTF-8 do not keep a window from being recorded") {
    maintenance_records records{{"shop", full()}};
    records["shop"].request.reason = "caf\xe9";
    CHECK(std::holds_alternative<maintenance_records>(parse_state(format_state(records))));
}

TEST_CASE("a text that was cut anywhere is not a state") {
    auto const whole = format_state({{"shop", full()}});
    for (std::size_t n = 0; n + 2 < whole.size(); ++n) {
        CAPTURE(n);
        CHECK(std::holds_alternative<std::string>(parse_state(whole.substr(0, n))));
    }
}

TEST_CASE("what is not ours is refused with a sentence") {
    for (char const* text : {"", "null", "[]", "{}", R"({"version":1})", R"({"version":"1","sites":{}})",
                             R"({"version":1,"sites":[1]})", R"({"version":1,"sites":{"shop":{}}})",
                             R"({"version":0,"sites":{}})", R"({"version":-1,"sites":{}})",
                             R"({"version":1.5,"sites":{}})", "\xff\xfe"}) {
        CAPTURE(text);
        auto const read = parse_state(text);
        REQUIRE(std::holds_alternative<std::string>(read));
        CHECK_FALSE(std::get<std::string>(read).empty());
    }
    auto const newer = parse_state(R"({"version":3,"sites":{}})");
    REQUIRE(std::holds_alternative<std::string>(newer));
    CHECK(std::get<std::string>(newer).find("newer") != std::string::npos);
    auto text = format_state({{"shop", full()}});
    auto const phase_at = text.find("\"sealed\"");
    REQUIRE(phase_at != std::string::npos);
    text.replace(phase_at, 8, "\"heated\"");
    CHECK(std::holds_alternative<std::string>(parse_state(text)));
}

TEST_CASE("the folder is made, private, and remembers") {
    folder f;
    std::string const path = f.path + "/deep/state";
    maintenance_records const records{{"shop", full()}};
    {
        state_file file(path);
        struct stat s {};
        REQUIRE(::stat(path.c_str(), &s) == 0);
        CHECK((s.st_mode & 0777) == 0700);
        CHECK(file.load().fresh);
        CHECK(file.save(records).error.empty());
        CHECK_FALSE(fs::exists(path + "/state.json.new"));
    }
    state_file file(path);
    auto const loaded = file.load();
    CHECK_FALSE(loaded.fresh);
    CHECK(loaded.problem.empty());
    CHECK(loaded.records == records);
}

TEST_CASE("one process at a time") {
    folder f;
    state_file const first(f.path);
    try {
        state_file const second(f.path);
        FAIL("two have the folder");
    } catch (std::runtime_error const& e) {
        CHECK(std::string(e.what()).find("pid " + std::to_string(::getpid())) != std::string::npos);
    }
}

TEST_CASE("a state that cannot be read is a problem, never nothing, and is kept") {
    folder f;
    state_file file(f.path);
    std::string const path = f.path + "/state.json";
    for (std::string const& text :
         {std::string(), std::string("{\"version\": 1, \"si"), std::string("\0\0\0\0", 4)}) {
        write(path, text);
        auto const loaded = file.load();
        CHECK_FALSE(loaded.problem.empty());
        CHECK_FALSE(loaded.fresh);
        CHECK(loaded.records.empty());
    }
    write(path, R"({"version": 9, "sites": {"shop": "whatever"}})");
    auto const problem = file.load().problem;
    CHECK(file.save({}).error.empty());
    bool kept = false;
    for (auto const& entry : fs::directory_iterator(f.path))
        kept = kept || entry.path().filename().string().starts_with("state.json.unreadable-");
    CHECK(kept);
}

TEST_CASE("a state that is missing where windows were before is a problem") {
    folder f;
    state_file file(f.path);
    CHECK(file.save({{"shop", full()}}).error.empty());
    CHECK(file.audit(R"({"event":"sealed"})").error.empty());
    fs::remove(f.path + "/state.json");
    auto const loaded = file.load();
    CHECK_FALSE(loaded.fresh);
    CHECK(loaded.problem.find("missing") != std::string::npos);
}

TEST_CASE("a save that fails leaves the old state") {
    folder f;
    state_file file(f.path);
    maintenance_records records{{"shop", full()}};
    REQUIRE(file.save(records).error.empty());
    auto const before = text_of(f.path + "/state.json");
    fs::create_directory(f.path + "/state.json.new");  // in the way, also for root
    records["shop"].epoch = epoch{99};
    CHECK_FALSE(file.save(records).error.empty());
    CHECK(text_of(f.path + "/state.json") == before);
    fs::remove(f.path + "/state.json.new");
    CHECK(file.save(records).error.empty());
}

TEST_CASE("a save whose rename cannot be flushed says that the new state is what a restart finds") {
    folder f;
    state_file file(f.path);
    maintenance_records records{{"shop", full()}};
    REQUIRE(file.save(records).error.empty());
    records["shop"].epoch = epoch{99};
    folders_flush = false;
    auto const saved = file.save(records);
    folders_flush = true;
    CHECK(saved.error.find("cannot flush") != std::string::npos);
    CHECK(saved.in_place);
    CHECK(file.load().records == records);
}

TEST_CASE("a folder that is made is flushed into its parent") {
    folder f;
    flushed_folders.clear();
    state_file const file(f.path + "/state");
    CHECK(flushed_folders.contains(f.path));
}

TEST_CASE("a full disk") {
    folder f;
    state_file file(f.path);
    maintenance_records records{{"shop", full()}};
    REQUIRE(file.save(records).error.empty());
    auto const before = text_of(f.path + "/state.json");
    fs::create_symlink("/dev/full", f.path + "/state.json.new");
    auto const saved = file.save(records);
    CHECK_FALSE(saved.in_place);
    CHECK(saved.error.find("No space left") != std::string::npos);
    CHECK(text_of(f.path + "/state.json") == before);
}

TEST_CASE("the audit file only grows") {
    folder f;
    state_file file(f.path);
    CHECK(file.audit("{\"n\":1}").error.empty());
    CHECK(file.audit("{\"n\":2}").error.empty());
    CHECK(text_of(f.path + "/audit.jsonl") == "{\"n\":1}\n{\"n\":2}\n");
}

TEST_CASE("damaged numbers are refused, not wrapped around") {
    auto const whole = format_state({{"shop", full()}});
    for (auto const& [from, to] :
         {std::pair{"\"epoch\": 41,\n   \"fence", "\"epoch\": -1,\n   \"fence"},
          std::pair{"\"drain_timeout_ms\": 1500", "\"drain_timeout_ms\": 99999999999999999"},
          std::pair{"\"since\": 1700000000000000", "\"since\": 17000000000000000"}}) {
        auto text = whole;
        auto const at = text.find(from);
        REQUIRE(at != std::string::npos);
        text.replace(at, std::string(from).size(), to);
        CHECK(std::holds_alternative<std::string>(parse_state(text)));
    }
}
