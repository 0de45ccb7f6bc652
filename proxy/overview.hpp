// Everything that is known at one moment, for the console and the metrics: the workers' surveys, the sites as
// `lull status` tells of them, the snapshot, and what else the control thread has. Made and read on the control thread.
#pragma once

#include "proxy/admin.hpp"
#include "proxy/pause_book_core.hpp"
#include "proxy/secret_finder.hpp"
#include "proxy/survey.hpp"
#include "proxy/tls_context.hpp"
#include "routing/snapshot.hpp"

#include <nlohmann/json.hpp>

#include <functional>
#include <map>
#include <memory>
#include <string>

namespace lull {

struct overview {
    survey workers;
    nlohmann::json sites;  // as GET /status has them
    std::shared_ptr<routing::snapshot const> now;
    std::shared_ptr<tls_keyring const> keyring = std::make_shared<tls_keyring const>();
    std::map<std::string, secret_answers> auth_query;  // by cluster
    pause_book paused;
};

/// What the control thread has of these beside the sites.
struct control_facts {
    std::shared_ptr<routing::snapshot const> now;
    std::shared_ptr<tls_keyring const> keyring;
    std::map<std::string, secret_answers> auth_query;
};

class observer {
  public:
    /// All outlive it.
    observer(surveyor& workers, admin_desk& desk, pause_book const& paused, std::function<control_facts()> facts)
        : workers_(workers), desk_(desk), paused_(paused), facts_(std::move(facts)) {}

    admin_desk& desk() { return desk_; }
    std::shared_ptr<routing::snapshot const> snapshot() const { return facts_().now; }
    void look(survey_wish wish, std::function<void(overview)> done) {
        workers_.ask(wish, [this, done = std::move(done)](survey s) {
            control_facts known = facts_();
            done({std::move(s), desk_.status().body.value("sites", nlohmann::json::array()), std::move(known.now),
                  std::move(known.keyring), std::move(known.auth_query), paused_});
        });
    }

  private:
    surveyor& workers_;
    admin_desk& desk_;
    pause_book const& paused_;
    std::function<control_facts()> facts_;
};

}  // namespace lull
