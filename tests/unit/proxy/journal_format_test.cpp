// A journal's bytes: what is written reads the same, half a record is cut off, and damage is said.
#include "proxy/journal_format_core.hpp"

#include <boost/crc.hpp>
#include <doctest/doctest.h>

using namespace lull;

namespace {

journal_entry entry(std::uint64_t number) {
    return {.number = number,
            .received_us = 1'700'000'000'000'000,
            .database = "shop",
            .user = "app",
            .application_name = "web",
            .settings = {"SET search_path TO a", std::string("x\0y", 3)},
            .extended = number % 2 == 0,
            .text = "INSERT INTO t VALUES ($1)",
            .parameter_types = std::string("\0\0\0\x17", 4),
            .bind_rest = std::string("\0\0\0\1\0\0\0\1\x31\0\0", 11),
            .tag = "INSERT 0 1"};
}

std::string whole() {
    std::string out(journal_header);
    write_entry(out, entry(1));
    write_entry(out, entry(2));
    write_intent(out, {1, "751", "77/00000001"});
    write_verdict(out, {1, journal_result::done, "", ""});
    write_intent(out, {2, "752", "77/00000001"});
    return out;
}

}  // namespace

TEST_CASE("a journal reads as it was written") {
    std::string const bytes = whole();
    journal_contents const c = read_journal(bytes);
    CHECK(c.entries == std::vector{entry(1), entry(2)});
    CHECK(c.verdicts.size() == 1);
    CHECK(c.intent == journal_intent{2, "752", "77/00000001"});
    CHECK(c.pending() == 1);
    CHECK(c.good_bytes == bytes.size());
    CHECK_FALSE(c.torn);
    CHECK(c.damage.empty());
    CHECK(read_journal({}).entries.empty());
}

TEST_CASE("an intent says what its entry came to; one of a version that did not is read too") {
    std::string bytes(journal_header);
    write_entry(bytes, entry(1));
    std::string now = bytes;
    write_intent(now, {1, "751", "77/00000001", "UPDATE 2"});
    CHECK(read_journal(now).intent == journal_intent{1, "751", "77/00000001", "UPDATE 2"});
    std::string record;
    write_intent(record, {1, "751", "77/00000001", ""});
    std::string const payload = record.substr(8, record.size() - 8 - 4);  // without the length of the tag
    boost::crc_32_type crc;
    crc.process_bytes(payload.data(), payload.size());
    auto const number = [](std::uint32_t n) {
        std::string out;
        for (int i = 0; i < 4; ++i) out += static_cast<char>(n >> (8 * i));
        return out;
    };
    std::string const old = bytes + number(static_cast<std::uint32_t>(payload.size())) + number(crc.checksum()) + payload;
    CHECK(read_journal(old).damage.empty());
    CHECK(read_journal(old).intent == journal_intent{1, "751", "77/00000001", ""});
}

TEST_CASE("cut anywhere, what is whole is read and the rest is a torn end") {
    std::string const bytes = whole();
    for (std::size_t n = 0; n < bytes.size(); ++n) {
        journal_contents const c = read_journal(std::string_view(bytes).substr(0, n));
        CHECK(c.damage.empty());
        CHECK(c.good_bytes <= n);
        CHECK(c.torn == (c.good_bytes < n));
        CHECK(read_journal(std::string_view(bytes).substr(0, c.good_bytes)).entries == c.entries);
    }
}

TEST_CASE("a file that grew before its data came ends in zeros") {
    std::string const bytes = whole() + std::string(4096, '\0');
    journal_contents const c = read_journal(bytes);
    CHECK(c.torn);
    CHECK(c.damage.empty());
    CHECK(c.good_bytes == whole().size());
}

TEST_CASE("a flipped bit amid records is damage, and is not taken for an end") {
    std::string bytes = whole();
    bytes[journal_header.size() + 20] ^= 1;
    journal_contents const c = read_journal(bytes);
    CHECK_FALSE(c.damage.empty());
    CHECK(c.entries.empty());
    CHECK(c.good_bytes == journal_header.size());
    CHECK_FALSE(read_journal("LULLJ2\n????").damage.empty());
}

TEST_CASE("a length that was damaged is damage, and not an end, where a record comes behind it") {
    std::string bytes = whole();
    bytes[journal_header.size() + 3] = 0x7f;
    journal_contents const c = read_journal(bytes);
    CHECK_FALSE(c.torn);
    CHECK_FALSE(c.damage.empty());
    CHECK(c.good_bytes == journal_header.size());
}

TEST_CASE("records that make no sense are damage") {
    auto with = [](auto write) {
        std::string bytes(journal_header);
        write_entry(bytes, entry(5));
        write(bytes);
        return read_journal(bytes);
    };
    CHECK_FALSE(with([](std::string& b) { write_entry(b, entry(5)); }).damage.empty());
    CHECK_FALSE(with([](std::string& b) { write_intent(b, {6, "1"}); }).damage.empty());
    CHECK_FALSE(with([](std::string& b) { write_intent(b, {5, "1; DROP"}); }).damage.empty());
    CHECK_FALSE(with([](std::string& b) {
                    write_verdict(b, {5, journal_result::failed, "23505", "no"});
                    write_verdict(b, {5, journal_result::done, "", ""});
                }).damage.empty());
}
