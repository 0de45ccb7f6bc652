#include "config/hba.hpp"

#include "config/name_pattern.hpp"
#include "config/network.hpp"

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>
#include <utility>
#include <variant>

namespace lull::config {
namespace {

struct refusal {
    hba_place at;
    std::string message;
    std::string fix;
};

constexpr std::array<std::pair<std::string_view, hba_connection>, 5> connections{
    {{"local", hba_connection::local},
     {"host", hba_connection::host},
     {"hostssl", hba_connection::hostssl},
     {"hostnossl", hba_connection::hostnossl},
     {"hostnogssenc", hba_connection::host}}};  // no connection here is encrypted by GSSAPI

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

/// A field of which there can be one name only; its own words are keywords unless they are quoted.
bool is_word(hba_field const& field, std::string_view word) {
    return field.tokens.size() == 1 && !field.tokens.front().name.quoted && field.tokens.front().name.text == word;
}

class line_parser {
  public:
    explicit line_parser(hba_line line) : line_(std::move(line)) {}

    std::variant<hba_rule, refusal> parse() {
        hba_rule rule;
        if (auto wrong = parse_into(rule)) return *wrong;
        return rule;
    }

  private:
    /// Null: the line has ended.
    hba_field* next() { return at_ < line_.size() ? &line_[at_++] : nullptr; }

    /// Where the line ends too early.
    hba_place end() const { return line_.back().at; }

    std::optional<refusal> parse_into(hba_rule& rule) {
        hba_field const& first = *next();
        std::string const word = first.tokens.empty() ? std::string() : first.tokens.front().name.text;
        auto const kind = find(connections, word);
        if (word == "hostgssenc")
            return refusal{first.at, "hostgssenc record cannot match because GSSAPI is not supported",
                           "remove it, or write hostssl"};
        if (first.tokens.size() != 1 || kind == connections.end())
            return refusal{first.at, shown(word) + " is no kind of connection",
                           "begin with local, host, hostssl or hostnossl"};
        rule.connection = kind->second;
        if (auto wrong = read_names(rule.databases, true)) return wrong;
        if (auto wrong = read_names(rule.users, false)) return wrong;
        if (rule.connection != hba_connection::local)
            if (auto wrong = read_address(rule)) return wrong;
        return read_method(rule);
    }

    std::optional<refusal> read_names(std::vector<hba_name>& out, bool databases) {
        hba_field* const field = next();
        if (!field)
            return refusal{end(), "the line ends too early", "write: TYPE DATABASE USER ADDRESS METHOD"};
        if (field->tokens.empty())
            return refusal{field->at, "the file has no names in it", "write one into it, or remove the line"};
        if (field->tokens.size() > most_hba_names)
            return refusal{field->at, "more than " + std::to_string(most_hba_names) + " names in a list",
                           "use several lines"};
        for (hba_token& token : field->tokens) {
            if (auto wrong = judge_name(token, databases)) return wrong;
            out.push_back(std::move(token.name));
        }
        return std::nullopt;
    }

    static std::optional<refusal> judge_name(hba_token& token, bool database) {
        hba_name& name = token.name;
        if (name.text.empty()) return refusal{token.at, "an empty name", "write a name, or all"};
        std::string const what = shown(name.text);
        if (name.text.front() == '/') {
            auto made = compile_pattern(std::string_view(name.text).substr(1));
            if (auto* wrong = std::get_if<pattern_error>(&made))
                return refusal{token.at, what + ": " + wrong->message, wrong->fix};
            name.pattern = std::get<std::shared_ptr<name_pattern const>>(std::move(made));
            return std::nullopt;
        }
        if (name.quoted) return std::nullopt;
        if (!database && name.text.front() == '+')
            return refusal{token.at, what + " means the members of a role, which only the server knows",
                           "list the users, or write all"};
        if (database && (name.text == "samerole" || name.text == "samegroup"))
            return refusal{token.at, what + " means the members of a role, which only the server knows",
                           "use sameuser, or list the databases"};
        return std::nullopt;
    }

    std::optional<refusal> read_address(hba_rule& rule) {
        hba_field const* const field = next();
        std::string const fix = "write all, samehost, samenet, an address with its prefix as in 10.0.0.0/8, or address and mask";
        if (!field || field->tokens.size() != 1)
            return refusal{field ? field->at : end(), "one address is expected", fix};
        if (is_word(*field, "all")) return std::nullopt;
        if (is_word(*field, "samehost") || is_word(*field, "samenet")) {
            rule.near = is_word(*field, "samehost") ? hba_near::same_host : hba_near::same_net;
            return std::nullopt;
        }
        std::string const& text = field->tokens.front().name.text;
        if (text.find('/') != std::string::npos) {
            rule.network = parse_network(text);
            if (!rule.network) return refusal{field->at, shown(text) + " is no network", fix};
            return std::nullopt;
        }
        auto const host = parse_address(text);
        if (!host) return refusal{field->at, shown(text) + " is no address; host names are not supported", fix};
        hba_field const* const second = next();
        auto const mask = second && second->tokens.size() == 1 ? parse_address(second->tokens.front().name.text) : std::nullopt;
        if (!mask || mask->v6 != host->v6)
            return refusal{second ? second->at : field->at, shown(text) + " has neither prefix nor mask", fix};
        rule.network = ip_network{*host, *mask};
        return std::nullopt;
    }

    std::optional<refusal> read_method(hba_rule& rule) {
        hba_field const* const field = next();
        if (!field || field->tokens.empty())
            return refusal{end(), "no method", "end the line with one, as in scram-sha-256"};
        std::string const& name = field->tokens.front().name.text;
        auto const method = find(methods, name);
        if (field->tokens.size() > 1 || method == methods.end())
            return refusal{field->at, "the method " + shown(name) + " is not supported",
                           "use scram-sha-256, md5, password, cert, peer, trust or reject"};
        rule.method = method->second;
        if (rule.method == auth_method::peer && rule.connection != hba_connection::local)
            return refusal{field->at, "peer authentication is only supported on local sockets", "write local"};
        if (rule.method == auth_method::cert && rule.connection != hba_connection::hostssl)
            return refusal{field->at, "cert authentication is only supported on hostssl connections", "write hostssl"};
        if (rule.method == auth_method::cert) rule.certificate = client_certificate::verify_full;
        while (hba_field const* const option = next())
            if (auto wrong = read_option(rule, *option)) return wrong;
        return std::nullopt;
    }

    static std::optional<refusal> read_option(hba_rule& rule, hba_field const& option) {
        std::string const text = option.tokens.empty() ? std::string() : option.tokens.front().name.text;
        std::string const fix =
            "remove it; of the options, clientcert=verify-ca and clientcert=verify-full are supported";
        if (option.tokens.size() > 1 || !text.starts_with("clientcert="))
            return refusal{option.at, "the option " + shown(text) + " is not supported", fix};
        if (rule.connection != hba_connection::hostssl)
            return refusal{option.at, "clientcert can only be configured for hostssl rows", "write hostssl"};
        std::string const value = text.substr(11);
        if (value == "verify-full")
            rule.certificate = client_certificate::verify_full;
        else if (value == "verify-ca" && rule.method != auth_method::cert)
            rule.certificate = client_certificate::verify_ca;
        else
            return refusal{option.at, shown(text) + " is not possible here", "write clientcert=verify-full"};
        return std::nullopt;
    }

    hba_line line_;
    std::size_t at_ = 0;
};

class disk_files final : public hba_files {
  public:
    std::variant<std::string, file_error> read(std::string const& path) override {
        auto content = read_text_file(path, most_hba_bytes);
        if (auto* wrong = std::get_if<file_error>(&content)) return std::move(*wrong);
        return std::move(std::get<text_file>(content).bytes);
    }
    std::variant<std::vector<std::string>, file_error> list(std::string const& folder) override {
        return files_of_folder(folder, ".conf");
    }
};

}  // namespace

hba_text parse_hba(std::string_view text, std::string name, hba_splitter& splitter) {
    hba_lines split = splitter.split(text, std::move(name));
    hba_text out;
    out.problems = std::move(split.problems);
    for (hba_line& line : split.lines) {
        if (out.problems.size() >= most_hba_problems) break;
        hba_place const at = line.front().at;
        auto parsed = line_parser(std::move(line)).parse();
        if (out.rules.size() == most_hba_rules)
            parsed = refusal{at, "more than " + std::to_string(most_hba_rules) + " rules", "merge some"};
        if (auto const* wrong = std::get_if<refusal>(&parsed))
            out.problems.push_back({*wrong->at.file, wrong->at.line, wrong->at.column, wrong->message, wrong->fix});
        else
            out.rules.push_back(std::get<hba_rule>(std::move(parsed)));
    }
    return out;
}

void read_hba(config& c, positions const& where, std::vector<issue>& issues) {
    auto const complain = [&](std::string const& path, std::string message, std::string fix) {
        auto const at = where.find(path);
        issues.push_back({where.file, at.line, at.column, path, std::move(message), std::move(fix)});
    };
    auto const report = [&](hba_problem& p, std::string const& path) {
        issues.push_back({std::move(p.file), p.line, p.column, path, std::move(p.message), std::move(p.fix)});
    };
    if (!c.hba_file.empty() && !c.hba.empty())
        return complain("hba", "given beside hba_file", "keep one of the two");
    disk_files files;
    hba_splitter splitter(files);
    std::size_t const known = issues.size();
    if (!c.hba_file.empty()) {
        auto content = files.read(c.hba_file);
        if (auto* e = std::get_if<file_error>(&content))
            return complain("hba_file", c.hba_file + ": " + e->message, e->fix);
        auto parsed = parse_hba(std::get<std::string>(content), c.hba_file, splitter);
        for (auto& p : parsed.problems) report(p, "hba_file");
        c.hba_rules = std::move(parsed.rules);
    }
    for (std::size_t i = 0; i < c.hba.size(); ++i) {
        std::string const path = "hba[" + std::to_string(i) + "]";
        if (c.hba[i].find('\n') != std::string::npos) {
            complain(path, "more than one line", "write one rule an element");
            continue;
        }
        auto parsed = parse_hba(c.hba[i], where.file, splitter);
        for (auto& p : parsed.problems) {
            // What stands in the element itself has the place that the element has.
            if (p.file == where.file)
                complain(path, std::move(p.message), std::move(p.fix));
            else
                report(p, path);
        }
        std::move(parsed.rules.begin(), parsed.rules.end(), std::back_inserter(c.hba_rules));
    }
    if (c.has_hba() && c.hba_rules.empty() && issues.size() == known)
        complain(c.hba.empty() ? "hba_file" : "hba", (c.hba.empty() ? c.hba_file + ": " : "") + "it has no rules: nobody could log in",
                 "write at least one, as in `hostssl all all all scram-sha-256`");
}

}  // namespace lull::config
