#include "tests/sim/model_server.hpp"

#include <algorithm>
#include <sstream>

namespace lull::sim {

using namespace wire;

namespace {

std::string lower(std::string_view text) {
    std::string out(text);
    for (char& c : out)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return out;
}

std::string trim(std::string_view text) {
    auto const first = text.find_first_not_of(" \n\t");
    if (first == std::string_view::npos) return {};
    return std::string(text.substr(first, text.find_last_not_of(" \n\t") - first + 1));
}

/// No constant of ours has a semicolon.
std::vector<std::string> split(std::string_view text) {
    std::vector<std::string> out;
    for (std::size_t at = 0; at <= text.size();) {
        std::size_t const end = std::min(text.find(';', at), text.size());
        if (std::string s = trim(text.substr(at, end - at)); !s.empty()) out.push_back(std::move(s));
        at = end + 1;
    }
    return out;
}

/// Lower case, quotes dropped, "a"."b" as a.b.
std::vector<std::string> words_of(std::string_view text) {
    std::string plain;
    for (char c : lower(text))
        if (c == '=')
            plain += " = ";
        else if (c != '"' && c != '\'')
            plain += c == ',' || c == '(' || c == ')' ? ' ' : c;
    std::istringstream in(plain);
    std::vector<std::string> out;
    for (std::string w; in >> w;) out.push_back(w);
    return out;
}

std::vector<std::string> constants_of(std::string_view text) {
    std::vector<std::string> out;
    for (std::size_t at = 0; (at = text.find('\'', at)) != std::string_view::npos;) {
        std::size_t const end = text.find('\'', at + 1);
        if (end == std::string_view::npos) break;
        out.emplace_back(text.substr(at + 1, end - at - 1));
        at = end + 1;
    }
    return out;
}

bool returns_rows(std::string const& text) {
    std::string const s = lower(text);
    return s.starts_with("select") || s.starts_with("show");
}

bool ends_transaction(std::vector<std::string> const& w) {
    return !w.empty() && (w[0] == "commit" || w[0] == "end" || w[0] == "rollback" || w[0] == "abort");
}

/// NAMEDATALEN - 1 bytes.
std::string name_at(std::string const& body, std::size_t& at) {
    return text_at(body, at).substr(0, 63);
}

std::string default_of(std::string const& name) {
    return name == "timezone" ? "UTC" : name == "work_mem" ? "4MB" : "";
}

}  // namespace

void model_server::receive(std::string_view bytes) {
    if (dead_) return;
    in_ += bytes;
    for (raw_message const& m : take_messages(in_)) {
        if (dead_) return;
        take(m);
    }
}

void model_server::take(raw_message const& m) {
    if (m.type == 'X') {
        rollback_all();
        dead_ = true;
        return;
    }
    if (copying_) {
        switch (m.type) {
            case 'd':
                write(m.body);
                ++copied_;
                return;
            case 'c':
                return end_copy();
            case 'f':
                copying_ = false;
                return fail({"57014", "COPY from stdin failed"});
            case 'S':
            case 'H':
                return;  // for the convenience of client libraries
            default:
                copying_ = false;
                fail({"08P01", "unexpected message during COPY from stdin"});
                if (m.type == 'Q' || copy_simple_) break;
                return;
        }
    }
    if (skipping_ && m.type != 'S') return;
    std::size_t at = 0;
    switch (m.type) {
        case 'Q':
            return simple(text_at(m.body, at));
        case 'S':
            skipping_ = false;
            finish();
            return say_ready();
        case 'H':
            sent_ += std::exchange(out_, {});
            return;
        case 'd':
        case 'c':
        case 'f':
            return;
        case 'F':
            last_simple_ = true;
            return fail({"0A000", "no functions here"});
        default:
            last_simple_ = false;
            return extended(m);
    }
}

void model_server::fail(failure const& why) {
    out_ += error(why.sqlstate, why.message);
    failed_ = explicit_;
    // Those of the innermost subtransaction can be run no more; the others can when it has been rolled back.
    for (auto& [name, p] : portals_)
        p.broken = p.broken || p.number >= (savepoints_.empty() ? 0 : savepoints_.back().portals);
    if (!explicit_) {
        rollback_all();
        portals_.clear();
    }
    rest_of_text_.clear();
    bool const to_sync = copy_simple_ ? false : !last_simple_;
    copy_simple_ = false;
    if (to_sync) {
        skipping_ = true;
        sent_ += std::exchange(out_, {});
        return;
    }
    finish();
    say_ready();
}

void model_server::say_ready() {
    report();
    out_ += ready(status());
    sent_ += std::exchange(out_, {});
    if (!open_) portals_.clear();
}

/// The end of a text or segment: what is no block is committed.
void model_server::finish() {
    if (open_ && !explicit_) commit();
}

void model_server::report() {
    for (char const* name : {"application_name", "timezone"}) {
        std::string const now = value_of(name);
        auto const [entry, fresh] = reported_.try_emplace(name, default_of(name));
        if (entry->second == now) continue;
        entry->second = now;
        out_ += parameter(std::string(name) == "timezone" ? "TimeZone" : name, now);
    }
}

void model_server::simple(std::string const& text) {
    last_simple_ = true;
    statements_.erase("");
    portals_.erase("");
    std::vector<std::string> statements = split(text);
    if (statements.empty()) {
        out_ += message('I');
        return say_ready();
    }
    rest_of_text_ = std::move(statements);
    while (!rest_of_text_.empty()) {
        std::string const s = rest_of_text_.front();
        rest_of_text_.erase(rest_of_text_.begin());
        auto const w = words_of(s);
        if (w[0] == "copy" && w.back() == "stdin") {
            if (failed_) return fail({"25P02", "current transaction is aborted"});
            ensure_transaction();
            if (read_only_) return fail({"25006", "cannot execute COPY FROM in a read-only transaction"});
            return begin_copy(true);
        }
        std::string const said = run(s, true);
        if (said.empty()) return;  // it failed, and that has been said
        out_ += said;
    }
    finish();
    say_ready();
}

void model_server::begin_copy(bool simple) {
    copying_ = true;
    copy_simple_ = simple;
    copied_ = 0;
    out_ += copy_in_response();
    sent_ += std::exchange(out_, {});
}

void model_server::end_copy() {
    copying_ = false;
    out_ += complete("COPY " + std::to_string(copied_));
    if (!std::exchange(copy_simple_, false)) return;
    while (!rest_of_text_.empty()) {
        std::string const s = rest_of_text_.front();
        rest_of_text_.erase(rest_of_text_.begin());
        std::string const said = run(s, true);
        if (said.empty()) return;
        out_ += said;
    }
    finish();
    say_ready();
}

void model_server::cancel() {
    if (!copying_) return;
    copying_ = false;
    fail({"57014", "canceling statement due to user request"});
}

void model_server::extended(raw_message const& m) {
    std::size_t at = 0;
    switch (m.type) {
        case 'P': {
            std::string const name = name_at(m.body, at);
            std::string const text = text_at(m.body, at);
            auto const w = words_of(text);
            if (name.empty()) statements_.erase(name);
            if (failed_ && !ends_transaction(w)) return fail({"25P02", "current transaction is aborted"});
            if (!name.empty() && statements_.contains(name))
                return fail({"42P05", "prepared statement already exists"});
            if (split(text).size() > 1) return fail({"42601", "cannot insert multiple commands"});
            if (!w.empty() && w[0] == "nonsense") return fail({"42601", "syntax error"});
            statements_[name] = text;
            out_ += message('1');
            return;
        }
        case 'B': {
            std::string const portal_name = name_at(m.body, at);
            std::string const name = name_at(m.body, at);
            auto const known = statements_.find(name);
            if (known == statements_.end())
                return fail({"26000", name.empty() ? "unnamed prepared statement does not exist"
                                                   : "prepared statement does not exist"});
            if (failed_ && !ends_transaction(words_of(known->second)))
                return fail({"25P02", "current transaction is aborted"});
            ensure_transaction();
            if (!portal_name.empty() && portals_.contains(portal_name)) return fail({"42P03", "cursor already exists"});
            portals_[portal_name] = {known->second, made_portals_++};
            out_ += message('2');
            return;
        }
        case 'D': {
            char const kind = m.body[0];
            std::string const name = name_at(m.body, ++at);
            std::string text;
            if (kind == 'S') {
                auto const known = statements_.find(name);
                if (known == statements_.end()) return fail({"26000", "prepared statement does not exist"});
                text = known->second;
            } else {
                auto const known = portals_.find(name);
                if (known == portals_.end()) return fail({"34000", "portal does not exist"});
                text = known->second.text;
            }
            if (failed_ && returns_rows(text)) return fail({"25P02", "current transaction is aborted"});
            if (kind == 'S') out_ += message('t', std::string_view("\0\0", 2));
            out_ += returns_rows(text) ? row_description() : message('n');
            return;
        }
        case 'E': {
            std::string const name = text_at(m.body, at).substr(0, 63);
            auto const known = portals_.find(name);
            if (known == portals_.end()) return fail({"34000", "portal does not exist"});
            std::int32_t most = 0;
            for (std::size_t i = at; i < at + 4; ++i)
                most = most << 8 | static_cast<unsigned char>(m.body[i]);
            portal& p = known->second;
            return execute_portal(p, most);
        }
        case 'C': {
            std::string const name = name_at(m.body, ++at);
            if (m.body[0] == 'S')
                statements_.erase(name);
            else
                portals_.erase(name);
            out_ += message('3');
            return;
        }
        default:
            dead_ = true;
            rollback_all();
            return;
    }
}

void model_server::execute_portal(portal& p, std::int32_t most) {
    auto const w = words_of(p.text);
    if (w.empty()) {
        out_ += message('I');
        return;
    }
    if (failed_ && !ends_transaction(w)) return fail({"25P02", "current transaction is aborted"});
    if (p.broken) return fail({"55000", "portal cannot be run"});
    ensure_transaction();
    if (w[0] == "copy" && w.back() == "stdin") {
        if (read_only_) return fail({"25006", "cannot execute COPY FROM in a read-only transaction"});
        return begin_copy(false);
    }
    auto const values = constants_of(p.text);
    if (w[0] == "select" && most > 0 && values.size() > 1) {
        // A cursor over constants, run for the first time when the first row is fetched.
        if (p.row == 0)
            for (auto const& v : values) ++book_.executed[v];
        std::size_t n = 0;
        for (; n < static_cast<std::size_t>(most) && p.row < values.size(); ++n)
            out_ += data_row(values[p.row++]);
        if (n == static_cast<std::size_t>(most))
            out_ += message('s');
        else
            out_ += complete("SELECT " + std::to_string(n));
        return;
    }
    if (p.done) {
        if (w[0] == "select" || w[0] == "show") {
            out_ += complete("SELECT 0");
            return;
        }
        return fail({"55000", "portal cannot be run"});
    }
    std::string const text = p.text;
    bool const empties = ends_transaction(w) || w[0] == "discard";
    if (!empties) p.done = true;
    std::string const said = run(text, false);
    if (!said.empty()) out_ += said;
}

}  // namespace lull::sim
