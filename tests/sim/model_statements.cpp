// What the statements of the model do.
#include "tests/sim/model_server.hpp"

#include <algorithm>
#include <sstream>

namespace lull::sim {

using namespace wire;

namespace {

std::vector<std::string> split_words(std::string const& text) {
    std::string plain;
    for (char c : text) {
        if (c == '"' || c == '\'') continue;
        if (c == '=')
            plain += " = ";
        else if (c == ',' || c == '(' || c == ')')
            plain += ' ';
        else
            plain += c;
    }
    std::istringstream in(plain);
    std::vector<std::string> out;
    for (std::string w; in >> w;) out.push_back(w);
    return out;
}

std::string lower(std::string text) {
    for (char& c : text)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return text;
}

std::vector<std::string> quoted(std::string const& text, char quote) {
    std::vector<std::string> out;
    for (std::size_t at = 0; (at = text.find(quote, at)) != std::string::npos;) {
        std::size_t const end = text.find(quote, at + 1);
        if (end == std::string::npos) break;
        out.push_back(text.substr(at + 1, end - at - 1));
        at = end + 1;
    }
    return out;
}

bool has(std::vector<std::string> const& words, char const* first, char const* second) {
    for (std::size_t i = 0; i + 1 < words.size(); ++i)
        if (words[i] == first && words[i + 1] == second) return true;
    return false;
}

std::string upper(std::string text) {
    for (char& c : text)
        if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    return text;
}

std::string default_of(std::string const& name) {
    return name == "timezone" ? "UTC" : name == "work_mem" ? "4MB" : "";
}

}  // namespace

void model_server::ensure_transaction() {
    if (open_) return;
    open_ = true;
    ++transactions_;
    explicit_ = failed_ = false;
    auto const chosen = made_.find("default_transaction_read_only");
    read_only_ = kind_.standby || (chosen == made_.end() ? kind_.read_only_default : chosen->second == "on");
    snapshot_ = false;
    before_ = made_;
}

void model_server::write(std::string const& what) {
    ++book_.executed[what];
    writes_.push_back(what);
}

void model_server::commit() {
    if (!writes_.empty() && book_.sealed && !kind_.migration)
        book_.violations.push_back("committed while sealed: " + writes_.front());
    if (!writes_.empty() && kind_.standby) book_.violations.push_back("committed on a standby");
    for (auto const& w : writes_) book_.committed.insert(w);
    if (!writes_.empty()) ++book_.commits;
    writes_.clear();
    savepoints_.clear();
    locals_.clear();
    open_ = explicit_ = failed_ = false;
}

void model_server::rollback_all() {
    if (open_) made_ = before_;
    writes_.clear();
    savepoints_.clear();
    locals_.clear();
    open_ = explicit_ = failed_ = false;
}

void model_server::end_block(bool committing, bool chain) {
    bool const read_only = read_only_;
    if (committing && !failed_)
        commit();
    else
        rollback_all();
    portals_.clear();
    if (!chain) return;
    ensure_transaction();
    explicit_ = true;
    read_only_ = read_only;
}

std::string model_server::value_of(std::string const& name) const {
    if (auto const at = locals_.find(name); at != locals_.end()) return at->second;
    if (auto const at = made_.find(name); at != made_.end()) return at->second;
    return default_of(name);
}

/// What it says; empty: it has failed, and fail() has said that.
std::string model_server::run(std::string const& text, bool describe_rows) {
    auto const words = split_words(lower(text));
    std::string const& verb = words.front();
    auto problem = [&](char const* sqlstate, std::string const& message) {
        fail({sqlstate, message});
        return std::string();
    };
    if (verb == "begin" || verb == "start" || verb == "commit" || verb == "end" || verb == "rollback" ||
        verb == "abort" || verb == "savepoint" || verb == "release")
        return run_transaction(text, words);
    if (failed_) return problem("25P02", "current transaction is aborted");
    ensure_transaction();
    if (verb == "set" && words.size() > 1 && words[1] == "transaction") return run_transaction(text, words);
    if (verb == "set" || verb == "reset" || verb == "show" || verb == "discard" || verb == "deallocate" ||
        (verb == "select" && words.size() > 1 && words[1] == "pg_catalog.set_config"))
        return run_setting(text, words);
    auto const values = quoted(text, '\'');
    auto rows = [&](std::vector<std::string> const& of) {
        std::string out = describe_rows ? row_description() : std::string();
        for (auto const& v : of) out += data_row(v);
        return out + complete("SELECT " + std::to_string(of.size()));
    };
    if (verb == "select") {
        snapshot_ = true;
        std::string const what = words.size() > 1 ? words[1] : "";
        if (what == "fail") return problem("22012", "division by zero");
        if (what == "add_one") {
            if (read_only_) return problem("25006", "cannot execute INSERT in a read-only transaction");
            write(values.front());
        } else if (what == "escape") {
            if (kind_.standby || (kind_.tame && read_only_))
                return problem("25006", "cannot execute INSERT in a read-only transaction");
            read_only_ = false;
            write(values.front());
        } else {
            for (auto const& v : values) ++book_.executed[v];
        }
        return rows(values);
    }
    if (verb == "insert") {
        if (read_only_) return problem("25006", "cannot execute INSERT in a read-only transaction");
        snapshot_ = true;
        for (auto const& v : values) write(v);
        return complete("INSERT 0 1");
    }
    if (verb == "copy") {
        std::string out = copy_out_response();
        for (auto const& v : values) {
            ++book_.executed[v];
            out += copy_data(v);
        }
        return out + copy_done() + complete("COPY " + std::to_string(values.size()));
    }
    if (verb == "listen" || verb == "unlisten") return complete(upper(verb));
    return problem("42601", "syntax error");
}

std::string model_server::run_transaction(std::string const& text, std::vector<std::string> const& words) {
    std::string const& verb = words.front();
    auto problem = [&](char const* sqlstate, std::string const& message) {
        fail({sqlstate, message});
        return std::string();
    };
    auto const name = [&] {
        auto const in_quotes = quoted(text, '"');
        return in_quotes.empty() ? words.back() : in_quotes.front();
    };
    bool const chain = has(words, "and", "chain");
    if (verb == "rollback" && std::find(words.begin(), words.end(), "to") != words.end()) {
        if (!explicit_) return problem("25P01", "ROLLBACK TO SAVEPOINT can only be used in blocks");
        auto const at = std::find_if(savepoints_.rbegin(), savepoints_.rend(),
                                     [&](savepoint const& s) { return s.name == name(); });
        if (at == savepoints_.rend()) return problem("3B001", "savepoint does not exist");
        savepoint const& s = *at;
        writes_.resize(s.writes);
        made_ = s.made;
        locals_ = s.locals;
        read_only_ = s.read_only;
        failed_ = false;
        std::erase_if(portals_, [&](auto const& p) { return p.second.number >= s.portals; });
        savepoints_.erase(at.base(), savepoints_.end());
        return complete("ROLLBACK");
    }
    if (verb == "begin" || verb == "start" || verb == "set") {
        if (failed_) return problem("25P02", "current transaction is aborted");
        ensure_transaction();
        std::string said;
        if (verb != "set") {
            if (explicit_) said = notice("there is already a transaction in progress");
            explicit_ = true;
        }
        if (has(words, "read", "only")) read_only_ = true;
        if (has(words, "read", "write") && read_only_) {
            if (kind_.standby)
                return problem("0A000", "cannot set transaction read-write mode during recovery");
            if (snapshot_)
                return problem("25001", "transaction read-write mode must be set before any query");
            read_only_ = false;
        }
        return said + complete(verb == "set" ? "SET" : "BEGIN");
    }
    if (verb == "savepoint" || verb == "release") {
        if (failed_) return problem("25P02", "current transaction is aborted");
        if (!explicit_) return problem("25P01", "SAVEPOINT can only be used in transaction blocks");
        if (verb == "savepoint") {
            savepoints_.push_back({name(), writes_.size(), made_, locals_, read_only_, made_portals_});
            return complete("SAVEPOINT");
        }
        auto const at = std::find_if(savepoints_.rbegin(), savepoints_.rend(),
                                     [&](savepoint const& s) { return s.name == name(); });
        if (at == savepoints_.rend()) return problem("3B001", "savepoint does not exist");
        read_only_ = at->read_only;  // SET TRANSACTION READ ONLY goes with it
        savepoints_.erase(std::prev(at.base()), savepoints_.end());
        return complete("RELEASE");
    }
    bool const committing = verb == "commit" || verb == "end";
    if (!explicit_) {
        if (chain) return problem("25P01", "COMMIT AND CHAIN can only be used in transaction blocks");
        std::string const said = notice("there is no transaction in progress");
        if (committing && open_)
            commit();
        else
            rollback_all();
        return said + complete(committing ? "COMMIT" : "ROLLBACK");
    }
    bool const committed = committing && !failed_;
    end_block(committing, chain);
    return complete(committed ? "COMMIT" : "ROLLBACK");
}

std::string model_server::run_setting(std::string const& text, std::vector<std::string> const& words) {
    std::string const& verb = words.front();
    if (verb == "show") {
        std::string const value = value_of(words.back());
        return (last_simple_ ? row_description() : std::string()) + data_row(value) + complete("SHOW");
    }
    if (verb == "select") {  // set_config('name','value',false)
        auto const values = quoted(text, '\'');
        made_[lower(values[0])] = values[1];
        return (last_simple_ ? row_description() : std::string()) + data_row(values[1]) +
               complete("SELECT 1");
    }
    if (verb == "discard") {
        if (explicit_) {
            fail({"25001", "DISCARD ALL cannot run inside a transaction block"});
            return {};
        }
        made_.clear();
        std::erase_if(statements_, [](auto const& s) { return !s.first.empty(); });
        portals_.clear();
        return complete("DISCARD ALL");
    }
    if (verb == "deallocate") {
        if (words.back() == "all") {
            std::erase_if(statements_, [](auto const& s) { return !s.first.empty(); });
            return complete("DEALLOCATE ALL");
        }
        if (statements_.erase(words.back()) == 0) {
            fail({"26000", "prepared statement does not exist"});
            return {};
        }
        return complete("DEALLOCATE");
    }
    if (verb == "reset") {
        if (words.back() == "all")
            made_.clear();
        else
            made_.erase(words.back());
        return complete("RESET");
    }
    bool const local = words.size() > 1 && words[1] == "local";
    std::size_t const at = local ? 2 : words.size() > 1 && words[1] == "session" ? 2 : 1;
    if (words.size() < at + 3) {
        fail({"42601", "syntax error"});
        return {};
    }
    if (words.back() == "bad") {
        fail({"22023", "invalid value for parameter"});
        return {};
    }
    if (local) {
        if (!explicit_) return notice("SET LOCAL can only be used in transaction blocks") + complete("SET");
        locals_[words[at]] = words.back();
    } else if (words.back() == "default") {
        made_.erase(words[at]);
        locals_.erase(words[at]);
    } else {
        made_[words[at]] = words.back();
        locals_.erase(words[at]);
    }
    return complete("SET");
}

}  // namespace lull::sim
