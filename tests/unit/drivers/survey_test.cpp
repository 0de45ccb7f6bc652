#include "proxy/ports.hpp"

#include <doctest/doctest.h>

using namespace lull;

namespace {

/// Has counted more each time that it is asked, unless it is stuck.
class counting_worker final : public worker_port {
  public:
    explicit counting_worker(std::size_t index) : index_(index) {}
    void take_survey(survey_wish, std::function<void(worker_survey)> answer) override {
        if (stuck) return;
        worker_survey s;
        s.worker = index_;
        s.pg.sessions = ++counted_;
        s.clients.emplace_back();
        s.logging_in = 1;
        answer(std::move(s));
    }
    void publish(std::shared_ptr<routing::snapshot const>) override {}
    void end_writers(routing::site_id, end_writers_how) override {}
    void listen(listener_kind, int, socket_family, std::vector<std::unique_ptr<worker_port>> const&) override {}
    void adopt(listener_kind, int, std::string) override {}
    void secret_found(std::uint64_t, std::optional<std::string>, std::string) override {}
    void answer_console(std::uint64_t, std::string, bool) override {}
    void channel_answered(channel_answer) override {}
    void notified(std::string, std::vector<notification>) override {}
    void channels_lost(std::string) override {}
    void rule_pools(pool_order, std::string) override {}
    std::size_t load() const override { return 0; }
    void stop(bool) override {}
    void join() override {}

    bool stuck = false;

  private:
    std::size_t const index_;
    std::uint64_t counted_ = 0;
};

}  // namespace

TEST_CASE("a worker that does not answer is named, and its counters stay where they were") {
    boost::asio::io_context io;
    std::vector<std::unique_ptr<worker_port>> workers;
    auto made = std::make_unique<counting_worker>(0);
    counting_worker& first = *made;
    workers.push_back(std::move(made));
    workers.push_back(std::make_unique<counting_worker>(1));
    surveyor questions(io);
    questions.start(workers);
    auto const ask = [&] {
        survey got;
        questions.ask({}, [&](survey s) { got = std::move(s); });
        io.restart();
        io.run();
        return got;
    };
    CHECK(ask().silent.empty());
    CHECK(ask().workers.at(0).pg.sessions == 2);
    first.stuck = true;
    survey const got = ask();
    CHECK(got.silent == std::vector<std::size_t>{0});
    REQUIRE(got.workers.size() == 2);
    CHECK(got.workers[0].pg.sessions == 2);
    CHECK(got.workers[0].clients.empty());
    CHECK(got.workers[0].logging_in == 0);
    CHECK(got.workers[1].pg.sessions == 3);
}
