// What one classification costs on each of its three paths, and what asking the catalog's facts adds to the
// first, in ns of thread CPU, best of five rounds.
#include "routing/fact_resolver.hpp"
#include "routing/sql_classifier.hpp"

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <string>
#include <vector>

namespace {

using namespace lull::routing;

double now_ns() {
    timespec t{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

volatile unsigned sink;

double best_ns(sql_classifier& classifier, std::vector<std::string> const& texts, int calls) {
    double best = 1e18;
    for (int round = 0; round < 5; ++round) {
        double const begin = now_ns();
        std::size_t next = 0;
        for (int i = 0; i < calls; ++i) {
            sink = sink + static_cast<unsigned>(classifier.classify(texts[next])->access);
            if (++next == texts.size()) next = 0;
        }
        best = std::min(best, (now_ns() - begin) / calls);
    }
    return best;
}

double with_facts_ns(sql_classifier& classifier, std::string const& text, int calls) {
    catalog_rows rows;
    for (char const* table : {"orders", "users", "pgbench_accounts"})
        rows.objects.push_back({catalog_object::kind::relation,
                                16384,
                                "public",
                                table,
                                catalog_object::nature::harmless,
                                false,
                                {}});
    auto const facts = catalog_facts::make(rows, {});
    fact_resolver resolver;
    double best = 1e18;
    for (int round = 0; round < 5; ++round) {
        double const begin = now_ns();
        for (int i = 0; i < calls; ++i)
            sink = sink + static_cast<unsigned>(
                              resolver.resolve(classifier.classify(text), facts, standing::fresh)->access);
        best = std::min(best, (now_ns() - begin) / calls);
    }
    return best;
}

// Texts that differ in one constant, which stands where %s does.
std::vector<std::string> variants(std::string const& pattern, int count) {
    std::vector<std::string> out;
    std::size_t const at = pattern.find("%s");
    for (int i = 0; i < count; ++i)
        out.push_back(std::string(pattern).replace(at, 2, std::to_string(1000000 + i)));
    return out;
}

std::string wide_select(int columns) {
    std::string sql = "SELECT ";
    for (int i = 0; i < columns; ++i)
        sql += (i ? ", " : "") + std::string("\"orders\".\"column_") + std::to_string(i) + '"';
    return sql +
           " FROM \"orders\" INNER JOIN \"users\" ON \"users\".\"id\" = \"orders\".\"user_id\" WHERE "
           "\"orders\".\"state\" = 'open' AND \"users\".\"id\" = %s LIMIT 20";
}

}  // namespace

int main() {
    struct {
        char const* name;
        std::string pattern;
    } const cases[] = {
        {"select", "SELECT abalance FROM pgbench_accounts WHERE aid = %s;"},
        {"update", "UPDATE pgbench_accounts SET abalance = abalance + 5 WHERE aid = %s;"},
        {"orm", wide_select(14)},
        {"wide", wide_select(140)},
    };
    std::printf("%-8s %6s %10s %12s %12s %10s\n", "query", "bytes", "exact ns", "with facts", "literals ns",
                "parse ns");
    for (auto const& c : cases) {
        std::string fixed = c.pattern;
        fixed.replace(fixed.find("%s"), 2, "$1");
        if (auto const quote = fixed.find("'open'"); quote != std::string::npos)
            fixed.replace(quote, 6, "$2");
        auto const literal = variants(c.pattern, 1024);
        sql_classifier warm;
        // No room for any entry: each text is scanned and parsed.
        sql_classifier cold({.cache_entries = 4, .cache_bytes = 0});
        double const exact = best_ns(warm, {fixed}, 400000);
        double const normalised = best_ns(warm, literal, 200000);
        double const parse = best_ns(cold, literal, 20000);
        double const facts = with_facts_ns(warm, fixed, 400000);
        std::printf("%-8s %6zu %10.1f %12.1f %12.1f %10.1f\n", c.name, c.pattern.size(), exact, facts,
                    normalised, parse);
    }
}
