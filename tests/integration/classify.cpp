// lull_classify: statements on stdin, one a line, or separated by NUL bytes when given -0; one line of JSON
// for each on stdout. A test tool: it lets other programs ask the classifier.
#include "routing/sql_classifier.hpp"

#include <cstdio>
#include <cstring>
#include <iostream>
#include <iterator>
#include <string>

namespace {

using namespace lull::routing;

char const* const access_names[] = {"read", "session", "unknown", "write"};
char const* const why_names[] = {"understood",   "function", "too_long", "too_deep",
                                 "syntax_error", "encoding", "guard",    "node",     "relation", "catalog"};
char const* const kind_names[] = {"empty",
                                  "select",
                                  "explain",
                                  "show",
                                  "dml",
                                  "ddl",
                                  "utility",
                                  "copy_in",
                                  "copy_out",
                                  "begin",
                                  "commit",
                                  "rollback",
                                  "savepoint",
                                  "release",
                                  "rollback_to",
                                  "prepare_transaction",
                                  "set_transaction",
                                  "set",
                                  "reset",
                                  "discard",
                                  "prepare",
                                  "execute",
                                  "deallocate",
                                  "declare_cursor",
                                  "fetch",
                                  "close_cursor",
                                  "listen",
                                  "unlisten",
                                  "notify",
                                  "unknown"};
static_assert(std::size(kind_names) == static_cast<std::size_t>(statement_kind::unknown) + 1);

std::string quoted(std::string_view s) {
    std::string out = "\"";
    for (char c : s) {
        char hex[8];
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (static_cast<unsigned char>(c) < 0x20) {
            std::snprintf(hex, sizeof hex, "\\u%04x", static_cast<unsigned>(static_cast<unsigned char>(c)));
            out += hex;
        } else {
            out += c;
        }
    }
    return out + '"';
}

std::string json(operation const& op) {
    std::string out =
        "{\"access\":" + quoted(access_names[static_cast<int>(op.access)]) +
        ",\"why\":" + quoted(why_names[static_cast<int>(op.why)]) + ",\"function\":" + quoted(op.function) +
        ",\"transaction_control\":" + (op.transaction_control ? "true" : "false") + ",\"statements\":[";
    bool first = true;
    for (auto const& s : op.statements) {
        out += first ? "" : ",";
        first = false;
        out += "{\"kind\":" + quoted(kind_names[static_cast<int>(s.kind)]) +
               ",\"access\":" + quoted(access_names[static_cast<int>(s.access)]) +
               ",\"command\":" + quoted(s.command) + ",\"name\":" + quoted(s.name) +
               ",\"value\":" + quoted(s.value) + ",\"pins\":" + (s.pins ? "true" : "false") + "}";
    }
    return out + "]}";
}

}  // namespace

int main(int argc, char** argv) {
    char const end = argc == 2 && std::strcmp(argv[1], "-0") == 0 ? '\0' : '\n';
    std::string failed;
    if (!sql_self_test(failed)) {
        std::cerr << "self-test failed: " << failed << '\n';
        return 1;
    }
    sql_classifier classifier;
    for (std::string sql; std::getline(std::cin, sql, end);)
        std::cout << json(*classifier.classify(sql)) << '\n';
}
