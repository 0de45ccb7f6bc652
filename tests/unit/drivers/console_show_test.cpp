#include "proxy/console_show.hpp"

#include <doctest/doctest.h>

#include <algorithm>

using namespace lull;

namespace {

std::string cell(console_table const& t, std::string_view column) {
    auto const at = std::ranges::find(t.columns, column, &console_column::name);
    REQUIRE(at != t.columns.end());
    REQUIRE(t.rows.size() == 1);
    return t.rows[0][static_cast<std::size_t>(at - t.columns.begin())].value_or("NULL");
}

overview of_one_client() {
    overview all;
    auto snapshot = std::make_shared<routing::snapshot>();
    snapshot->config = std::make_shared<config::config const>();
    all.now = snapshot;
    worker_survey& w = all.workers.workers.emplace_back();
    client_row& c = w.clients.emplace_back();
    c.server = 1;
    c.statement = "UPDATE t SET a = 'secret'";
    w.prepared.push_back({"lull_1", "SELECT 'secret'", 1});
    return all;
}

}  // namespace

TEST_CASE("constants of statements are shown to admins of the console only") {
    overview const all = of_one_client();
    console_facts facts;
    for (auto show : {&show_clients, &show_locks}) CHECK(cell(show(all, facts), "statement") == "UPDATE t SET a = ?");
    CHECK(cell(show_prepared(all, facts), "statement") == "SELECT ?");
    facts.whole_statements = true;
    for (auto show : {&show_clients, &show_locks})
        CHECK(cell(show(all, facts), "statement") == "UPDATE t SET a = 'secret'");
    CHECK(cell(show_prepared(all, facts), "statement") == "SELECT 'secret'");
}
