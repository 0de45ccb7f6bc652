#include "routing/http_rules.hpp"

#include <algorithm>
#include <optional>
#include <tuple>
#include <utility>

namespace lull::routing {
namespace {

enum class rule_answer : std::uint8_t { allow, refuse };

std::optional<rule_answer> first_match(std::span<config::http_rule const> rules, std::string_view method,
                                       std::string_view path) noexcept {
    for (config::http_rule const& rule : rules) {
        bool const method_fits = rule.methods.empty() || std::find(rule.methods.begin(), rule.methods.end(),
                                                                   method) != rule.methods.end();
        if (method_fits && glob_matches(rule.path, path))
            return rule.allow ? rule_answer::allow : rule_answer::refuse;
    }
    return std::nullopt;
}

/// Whether a request of one method to one path may pass without being a write.
bool passes(std::span<config::http_rule const> rules, std::string_view method,
            std::string_view path) noexcept {
    if (auto const answer = first_match(rules, method, path)) return *answer == rule_answer::allow;
    return classify_method(method) == method_class::safe;
}

template <class Test>
bool holds_for_all_readings(http_request const& r, Test&& test) noexcept {
    for (std::string_view const method : {r.method, r.method_override}) {
        if (method.empty()) continue;
        if (!test(method, r.path)) return false;
        if (!r.careless_path.empty() && !test(method, r.careless_path)) return false;
    }
    return true;
}

bool refused_by_rule(http_request const& r, config::site const& site) noexcept {
    return !holds_for_all_readings(r, [&](std::string_view method, std::string_view path) {
        return first_match(site.http_rules, method, path) != rule_answer::refuse;
    });
}

/// The segments of a path, between its slashes.
struct cursor {
    std::string_view rest;
    bool done = false;

    std::string_view segment() const noexcept { return rest.substr(0, rest.find('/')); }
    void advance() noexcept {
        std::size_t const slash = rest.find('/');
        done = slash == std::string_view::npos;
        if (!done) rest.remove_prefix(slash + 1);
    }
};

bool segment_matches(std::string_view pattern, std::string_view text) noexcept {
    std::size_t p = 0;
    std::size_t t = 0;
    std::size_t star = std::string_view::npos;
    std::size_t star_text = 0;
    while (t < text.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            star_text = t;
        } else if (p < pattern.size() && pattern[p] == text[t]) {
            ++p;
            ++t;
        } else if (star != std::string_view::npos) {
            p = star + 1;
            t = ++star_text;
        } else {
            return false;
        }
    }
    while (p < pattern.size() && pattern[p] == '*') ++p;
    return p == pattern.size();
}

}  // namespace

method_class classify_method(std::string_view method) noexcept {
    for (std::string_view const safe : {"GET", "HEAD", "OPTIONS", "TRACE", "QUERY"})
        if (method == safe) return method_class::safe;
    return method == "PUT" || method == "DELETE" ? method_class::idempotent : method_class::unsafe;
}

http_verdict judge(http_request const& request, config::site const& site, mode m) noexcept {
    bool const reads = holds_for_all_readings(request, [&](std::string_view method, std::string_view path) {
        return passes(site.http_rules, method, path);
    });
    switch (m) {
        case mode::read_write: {
            if (reads) return http_verdict::pass;
            // A rule that refuses says nothing about whether a safe method writes.
            bool const safe = holds_for_all_readings(request, [](std::string_view method, std::string_view) {
                return classify_method(method) == method_class::safe;
            });
            return safe ? http_verdict::pass : http_verdict::write;
        }
        case mode::draining:
        case mode::sealed:
        case mode::reopening:
            if (reads) return http_verdict::pass;
            // Under `hold` the request goes on and its SQL waits; what the operator's rules refuse is
            // refused.
            if (site.writes == config::write_policy::hold && !refused_by_rule(request, site))
                return http_verdict::write;
            return http_verdict::refuse;
    }
    return http_verdict::refuse;
}

bool glob_matches(std::string_view pattern, std::string_view path) noexcept {
    // The classical matching with one remembered star, over segments: a segment that does not fit is retried
    // only behind the last `**`, because an earlier one could not reach further.
    cursor wanted{pattern};
    cursor given{path};
    std::optional<std::pair<cursor, cursor>> retry;  // behind the last `**`, and where it may end next
    while (!given.done) {
        if (!wanted.done && wanted.segment() == "**") {
            wanted.advance();
            if (wanted.done) return true;
            retry = {wanted, given};
            continue;
        }
        if (!wanted.done && segment_matches(wanted.segment(), given.segment())) {
            wanted.advance();
            given.advance();
            continue;
        }
        if (!retry) return false;
        retry->second.advance();
        std::tie(wanted, given) = *retry;
    }
    return wanted.done;
}

}  // namespace lull::routing
