// Everything that is known at one moment, for the console and the metrics: the workers' surveys, the sites as
// `lull status` tells of them, the snapshot. Made and read on the control thread.
#pragma once

#include "proxy/admin.hpp"
#include "proxy/survey.hpp"
#include "routing/snapshot.hpp"

#include <nlohmann/json.hpp>

#include <functional>
#include <memory>

namespace lull {

struct overview {
    survey workers;
    nlohmann::json sites;  // as GET /status has them
    std::shared_ptr<routing::snapshot const> now;
};

class observer {
  public:
    /// All outlive it.
    observer(surveyor& workers, admin_desk& desk,
             std::function<std::shared_ptr<routing::snapshot const>()> snapshot)
        : workers_(workers), desk_(desk), snapshot_(std::move(snapshot)) {}

    admin_desk& desk() { return desk_; }
    std::shared_ptr<routing::snapshot const> snapshot() const { return snapshot_(); }
    void look(survey_wish wish, std::function<void(overview)> done) {
        workers_.ask(wish, [this, done = std::move(done)](survey s) {
            done({std::move(s), desk_.status().body.value("sites", nlohmann::json::array()), snapshot_()});
        });
    }

  private:
    surveyor& workers_;
    admin_desk& desk_;
    std::function<std::shared_ptr<routing::snapshot const>()> snapshot_;
};

}  // namespace lull
