#include "config/hba.hpp"

#include "config/network.hpp"
#include "config/text_file.hpp"

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>
#include <utility>
#include <variant>

namespace lull::config {
namespace {

struct refusal {
    std::string message;
    std::string fix;
};

using field = std::vector<hba_name>;  // one, or several with commas between

constexpr std::array<std::pair<std::string_view, hba_connection>, 4> connections{
    {{"local", hba_connection::local},
     {"host", hba_connection::host},
     {"hostssl", hba_connection::hostssl},
     {"hostnossl", hba_connection::hostnossl}}};

constexpr std::array<std::pair<std::string_view, auth_method>, 7> methods{
    {{"trust", auth_method::trust},
     {"reject", auth_method::reject},
     {"password", auth_method::password},
     {"md5", auth_method::md5},
     {"scram-sha-256", auth_method::scram_sha_256},
     {"cert", auth_method::cert},
     {"peer", auth_method::peer}}};

template <class List>
auto find(List const& list, std::string_view name) {
    return std::find_if(list.begin(), list.end(), [&](auto const& entry) { return entry.first == name; });
}

bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

/// Fields of one line, as PostgreSQL takes them apart: blanks end a field, a comma goes on with it, quotes
/// take all meaning from what is in them, # begins a comment.
class line_reader {
  public:
    explicit line_reader(std::string_view text) : text_(text) {}

    /// Empty: the line has ended.
    field next() {
        field out;
        while (auto name = token()) {
            out.push_back(std::move(*name));
            if (!comma_ || out.size() > most_hba_names) break;
        }
        return out;
    }

    bool unclosed() const { return unclosed_; }

  private:
    std::optional<hba_name> token() {
        while (at_ < text_.size() && (is_blank(text_[at_]) || text_[at_] == ',')) ++at_;
        comma_ = false;
        if (at_ == text_.size() || text_[at_] == '#') return std::nullopt;
        hba_name name;
        name.quoted = text_[at_] == '"';
        bool in_quotes = false;
        bool was_quote = false;  // "" within quotes is one
        for (; at_ < text_.size(); ++at_) {
            char const c = text_[at_];
            if (!in_quotes && (is_blank(c) || c == '#')) break;
            if (!in_quotes && c == ',') {
                comma_ = true;
                ++at_;
                break;
            }
            if (c != '"' || was_quote) name.text += c;
            was_quote = in_quotes && c == '"' ? !was_quote : false;
            if (c == '"') in_quotes = !in_quotes;
        }
        unclosed_ = unclosed_ || in_quotes;
        return name;
    }

    std::string_view text_;
    std::size_t at_ = 0;
    bool comma_ = false;
    bool unclosed_ = false;
};

class line_parser {
  public:
    explicit line_parser(std::string_view text) : in_(text) {}

    /// Nothing: an empty line.
    std::optional<std::variant<hba_rule, refusal>> parse() {
        field const first = in_.next();
        if (first.empty()) return std::nullopt;
        hba_rule rule;
        auto wrong = parse_into(rule, first);
        if (!wrong && in_.unclosed())
            wrong = refusal{"a quote that is not closed", "close it on the same line"};
        if (wrong) return *wrong;
        return rule;
    }

  private:
    std::optional<refusal> parse_into(hba_rule& rule, field const& first) {
        auto const kind = find(connections, first.front().text);
        if (first.size() > 1 || kind == connections.end())
            return refusal{shown(first.front().text) + " is no kind of connection",
                           "begin with local, host, hostssl or hostnossl"};
        rule.connection = kind->second;
        rule.databases = in_.next();
        rule.users = in_.next();
        if (rule.databases.empty() || rule.users.empty())
            return refusal{"the line ends too early", "write: TYPE DATABASE USER ADDRESS METHOD"};
        if (rule.databases.size() > most_hba_names || rule.users.size() > most_hba_names)
            return refusal{"more than " + std::to_string(most_hba_names) + " names in a list",
                           "use several lines"};
        for (hba_name const& name : rule.databases)
            if (auto wrong = judge_name(name, true)) return wrong;
        for (hba_name const& name : rule.users)
            if (auto wrong = judge_name(name, false)) return wrong;
        if (rule.connection != hba_connection::local)
            if (auto wrong = read_address(rule)) return wrong;
        return read_method(rule);
    }

    static std::optional<refusal> judge_name(hba_name const& name, bool database) {
        if (name.text.empty()) return refusal{"an empty name", "write a name, or all"};
        if (name.quoted) return std::nullopt;
        std::string const what = shown(name.text);
        if (name.text.front() == '/')
            return refusal{what + " is a regular expression, which is not supported", "list the names"};
        if (name.text.front() == '@')
            return refusal{what + " names a file of names, which is not supported", "list the names here"};
        if (!database && name.text.front() == '+')
            return refusal{what + " means the members of a role, which only the server knows",
                           "list the users, or write all"};
        if (database && (name.text == "samerole" || name.text == "samegroup"))
            return refusal{what + " means the members of a role, which only the server knows",
                           "use sameuser, or list the databases"};
        return std::nullopt;
    }

    std::optional<refusal> read_address(hba_rule& rule) {
        field const address = in_.next();
        std::string const fix = "write all, an address with its prefix as in 10.0.0.0/8, or address and mask";
        if (address.size() != 1) return refusal{"one address is expected", fix};
        std::string const& text = address.front().text;
        if (!address.front().quoted && text == "all") return std::nullopt;
        if (!address.front().quoted && (text == "samehost" || text == "samenet"))
            return refusal{shown(text) + " is not supported", fix};
        if (text.find('/') != std::string::npos) {
            rule.network = parse_network(text);
            if (!rule.network) return refusal{shown(text) + " is no network", fix};
            return std::nullopt;
        }
        auto const host = parse_address(text);
        if (!host) return refusal{shown(text) + " is no address; host names are not supported", fix};
        field const mask_field = in_.next();
        auto const mask = mask_field.size() == 1 ? parse_address(mask_field.front().text) : std::nullopt;
        if (!mask || mask->v6 != host->v6) return refusal{shown(text) + " has neither prefix nor mask", fix};
        rule.network = ip_network{*host, *mask};
        return std::nullopt;
    }

    std::optional<refusal> read_method(hba_rule& rule) {
        field const name = in_.next();
        if (name.empty()) return refusal{"no method", "end the line with one, as in scram-sha-256"};
        auto const method = find(methods, name.front().text);
        if (name.size() > 1 || method == methods.end())
            return refusal{"the method " + shown(name.front().text) + " is not supported",
                           "use scram-sha-256, md5, password, cert, peer, trust or reject"};
        rule.method = method->second;
        if (rule.method == auth_method::peer && rule.connection != hba_connection::local)
            return refusal{"peer authentication is only supported on local sockets", "write local"};
        if (rule.method == auth_method::cert && rule.connection != hba_connection::hostssl)
            return refusal{"cert authentication is only supported on hostssl connections", "write hostssl"};
        if (rule.method == auth_method::cert) rule.certificate = client_certificate::verify_full;
        for (field option = in_.next(); !option.empty(); option = in_.next())
            if (auto wrong = read_option(rule, option)) return wrong;
        return std::nullopt;
    }

    static std::optional<refusal> read_option(hba_rule& rule, field const& option) {
        std::string const& text = option.front().text;
        std::string const fix =
            "remove it; of the options, clientcert=verify-ca and clientcert=verify-full are supported";
        if (option.size() > 1 || !text.starts_with("clientcert="))
            return refusal{"the option " + shown(text) + " is not supported", fix};
        if (rule.connection != hba_connection::hostssl)
            return refusal{"clientcert can only be configured for hostssl rows", "write hostssl"};
        std::string const value = text.substr(11);
        if (value == "verify-full")
            rule.certificate = client_certificate::verify_full;
        else if (value == "verify-ca" && rule.method != auth_method::cert)
            rule.certificate = client_certificate::verify_ca;
        else
            return refusal{shown(text) + " is not possible here", "write clientcert=verify-full"};
        return std::nullopt;
    }

    line_reader in_;
};

}  // namespace

hba_text parse_hba(std::string_view text) {
    hba_text out;
    auto const complain = [&](int line, refusal const& r) {
        out.problems.push_back({line, r.message, r.fix});
    };
    if (text.size() > most_hba_bytes) {
        complain(1, {"it is larger than 1MB", "check that it is the right file"});
        return out;
    }
    int number = 0;
    while (!text.empty() && out.problems.size() < most_hba_problems) {
        int const first = number + 1;
        std::string line;
        // A backslash at the end of a line goes on with the next.
        for (bool more = true; more && !text.empty();) {
            std::size_t const end = std::min(text.find('\n'), text.size());
            std::string_view part = text.substr(0, end);
            text.remove_prefix(std::min(end + 1, text.size()));
            ++number;
            if (part.ends_with('\r')) part.remove_suffix(1);
            more = part.ends_with('\\');
            if (more) part.remove_suffix(1);
            line += part;
        }
        auto parsed = line_parser(line).parse();
        if (!parsed) continue;
        if (auto const* wrong = std::get_if<refusal>(&*parsed)) {
            complain(first, *wrong);
            continue;
        }
        if (out.rules.size() == most_hba_rules) {
            complain(first, {"more than " + std::to_string(most_hba_rules) + " rules", "merge some"});
            break;
        }
        out.rules.push_back(std::get<hba_rule>(std::move(*parsed)));
    }
    return out;
}

void read_hba(config& c, positions const& where, std::vector<issue>& issues) {
    auto const complain = [&](std::string const& path, std::string message, std::string fix) {
        auto const at = where.find(path);
        issues.push_back({where.file, at.line, at.column, path, std::move(message), std::move(fix)});
    };
    if (!c.hba_file.empty() && !c.hba.empty())
        return complain("hba", "given beside hba_file", "keep one of the two");
    if (!c.hba_file.empty()) {
        auto content = read_text_file(c.hba_file, most_hba_bytes);
        if (auto* e = std::get_if<file_error>(&content))
            return complain("hba_file", c.hba_file + ": " + e->message, e->fix);
        auto parsed = parse_hba(std::get<text_file>(content).bytes);
        for (auto& p : parsed.problems)
            issues.push_back({c.hba_file, p.line, 1, "hba_file", std::move(p.message), std::move(p.fix)});
        c.hba_rules = std::move(parsed.rules);
        if (c.hba_rules.empty() && parsed.problems.empty())
            complain("hba_file", c.hba_file + ": it has no rules: nobody could log in",
                     "write at least one, as in `hostssl all all all scram-sha-256`");
    }
    for (std::size_t i = 0; i < c.hba.size(); ++i) {
        std::string const path = "hba[" + std::to_string(i) + "]";
        if (c.hba[i].find('\n') != std::string::npos) {
            complain(path, "more than one line", "write one rule an element");
            continue;
        }
        auto parsed = parse_hba(c.hba[i]);
        for (auto& p : parsed.problems) complain(path, std::move(p.message), std::move(p.fix));
        if (parsed.rules.empty() && parsed.problems.empty()) complain(path, "no rule", "remove it");
        std::move(parsed.rules.begin(), parsed.rules.end(), std::back_inserter(c.hba_rules));
    }
}

}  // namespace lull::config
