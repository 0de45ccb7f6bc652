#include "proxy/journal_format_core.hpp"

#include <boost/crc.hpp>

#include <algorithm>

namespace lull {

namespace {

enum class record : char { entry = 'E', intent = 'I', verdict = 'V' };

template <class Number>
void put(std::string& out, Number value) {
    for (std::size_t i = 0; i < sizeof value; ++i)
        out += static_cast<char>(static_cast<std::uint64_t>(value) >> (8 * i));
}

void put(std::string& out, std::string const& text) {
    put(out, static_cast<std::uint32_t>(text.size()));
    out += text;
}

std::uint32_t checksum(std::string_view payload) {
    boost::crc_32_type crc;
    crc.process_bytes(payload.data(), payload.size());
    return crc.checksum();
}

void frame(std::string& out, std::string const& payload) {
    put(out, static_cast<std::uint32_t>(payload.size()));
    put(out, checksum(payload));
    out += payload;
}

/// Takes values from the front; `bad` once something was missing.
struct taker {
    std::string_view in;
    bool bad = false;

    template <class Number>
    Number number() {
        if (in.size() < sizeof(Number)) {
            bad = true;
            return Number{};
        }
        std::uint64_t value = 0;
        for (std::size_t i = 0; i < sizeof(Number); ++i)
            value |= static_cast<std::uint64_t>(static_cast<unsigned char>(in[i])) << (8 * i);
        in.remove_prefix(sizeof(Number));
        return static_cast<Number>(value);
    }
    std::string text() {
        auto const size = number<std::uint32_t>();
        if (bad || in.size() < size) {
            bad = true;
            return {};
        }
        std::string out(in.substr(0, size));
        in.remove_prefix(size);
        return out;
    }
    bool whole() const { return !bad && in.empty(); }
};

bool take_entry(taker& from, journal_contents& into) {
    journal_entry e;
    e.number = from.number<std::uint64_t>();
    e.received_us = from.number<std::int64_t>();
    auto const extended = from.number<std::uint8_t>();
    e.extended = extended == 1;
    e.database = from.text();
    e.user = from.text();
    e.application_name = from.text();
    e.text = from.text();
    e.parameter_types = from.text();
    e.bind_rest = from.text();
    e.tag = from.text();
    auto const settings = from.number<std::uint32_t>();
    for (std::uint32_t i = 0; i < settings && !from.bad; ++i) e.settings.push_back(from.text());
    if (!from.whole() || extended > 1) return false;
    if (e.number <= (into.entries.empty() ? 0 : into.entries.back().number)) return false;
    into.entries.push_back(std::move(e));
    return true;
}

bool is_pending(journal_contents const& in, std::uint64_t number) {
    auto const at = std::lower_bound(in.entries.begin(), in.entries.end(), number,
                                     [](journal_entry const& e, std::uint64_t n) { return e.number < n; });
    return at != in.entries.end() && at->number == number && !in.verdicts.contains(number);
}

bool take_intent(taker& from, journal_contents& into) {
    journal_intent i;
    i.number = from.number<std::uint64_t>();
    i.xid = from.text();
    i.origin = from.text();
    if (!from.in.empty()) i.tag = from.text();
    bool const digits = !i.xid.empty() && i.xid.size() <= 20 &&
                        std::all_of(i.xid.begin(), i.xid.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (!from.whole() || !digits || !is_pending(into, i.number)) return false;
    into.intent = std::move(i);
    return true;
}

bool take_verdict(taker& from, journal_contents& into) {
    journal_verdict v;
    v.number = from.number<std::uint64_t>();
    auto const result = from.number<std::uint8_t>();
    v.result = static_cast<journal_result>(result);
    v.sqlstate = from.text();
    v.message = from.text();
    if (!from.whole() || result > static_cast<std::uint8_t>(journal_result::differs) ||
        !is_pending(into, v.number))
        return false;
    if (into.intent && into.intent->number == v.number) into.intent.reset();
    into.verdicts.emplace(v.number, std::move(v));
    return true;
}

bool take_record(std::string_view payload, journal_contents& into) {
    if (payload.empty()) return false;
    taker from{payload.substr(1)};
    switch (static_cast<record>(payload.front())) {
        case record::entry:
            return take_entry(from, into);
        case record::intent:
            return take_intent(from, into);
        case record::verdict:
            return take_verdict(from, into);
    }
    return false;
}

/// Whether a whole record begins anywhere in it. Where that is too much to find out: yes.
bool has_record(std::string_view rest) {
    constexpr std::size_t most_summed = 256 * 1024 * 1024;
    std::size_t summed = 0;
    for (; rest.size() > 8; rest.remove_prefix(1)) {
        char const kind = rest[8];
        if (kind != static_cast<char>(record::entry) && kind != static_cast<char>(record::intent) &&
            kind != static_cast<char>(record::verdict))
            continue;
        taker from{rest};
        auto const size = from.number<std::uint32_t>();
        auto const sum = from.number<std::uint32_t>();
        if (size == 0 || from.in.size() < size) continue;
        summed += size;
        if (summed > most_summed || checksum(from.in.substr(0, size)) == sum) return true;
    }
    return false;
}

}  // namespace

void write_entry(std::string& out, journal_entry const& e) {
    std::string p(1, static_cast<char>(record::entry));
    put(p, e.number);
    put(p, e.received_us);
    put(p, static_cast<std::uint8_t>(e.extended ? 1 : 0));
    put(p, e.database);
    put(p, e.user);
    put(p, e.application_name);
    put(p, e.text);
    put(p, e.parameter_types);
    put(p, e.bind_rest);
    put(p, e.tag);
    put(p, static_cast<std::uint32_t>(e.settings.size()));
    for (std::string const& s : e.settings) put(p, s);
    frame(out, p);
}

void write_intent(std::string& out, journal_intent const& i) {
    std::string p(1, static_cast<char>(record::intent));
    put(p, i.number);
    put(p, i.xid);
    put(p, i.origin);
    put(p, i.tag);
    frame(out, p);
}

void write_verdict(std::string& out, journal_verdict const& v) {
    std::string p(1, static_cast<char>(record::verdict));
    put(p, v.number);
    put(p, static_cast<std::uint8_t>(v.result));
    put(p, v.sqlstate);
    put(p, v.message);
    frame(out, p);
}

journal_contents read_journal(std::string_view bytes) {
    journal_contents out;
    if (bytes.size() < journal_header.size() && journal_header.starts_with(bytes)) {
        out.torn = !bytes.empty();
        return out;
    }
    if (!bytes.starts_with(journal_header)) {
        out.damage = "it does not begin as a journal of this version does";
        return out;
    }
    std::size_t at = journal_header.size();
    for (;;) {
        out.good_bytes = at;
        std::string_view const rest = bytes.substr(at);
        if (rest.empty()) return out;
        taker from{rest};
        auto const size = from.number<std::uint32_t>();
        auto const sum = from.number<std::uint32_t>();
        // A file that grew before its data came to the disk ends in zeros.
        bool const nothing = std::all_of(rest.begin(), rest.end(), [](char c) { return c == '\0'; });
        if (from.bad || from.in.size() < size || nothing) {
            // A length that was damaged looks the same, but something comes behind it.
            if (has_record(rest))
                out.damage = "the record at byte " + std::to_string(at) + " is damaged";
            else
                out.torn = true;
            return out;
        }
        std::string_view const payload = from.in.substr(0, size);
        if (checksum(payload) != sum) {
            if (from.in.size() == size)
                out.torn = true;
            else
                out.damage = "the record at byte " + std::to_string(at) + " is damaged";
            return out;
        }
        if (!take_record(payload, out)) {
            out.damage = "the record at byte " + std::to_string(at) + " makes no sense";
            return out;
        }
        at += 8 + size;
    }
}

}  // namespace lull
