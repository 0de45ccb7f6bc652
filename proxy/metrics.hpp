// What Prometheus is told, and whether Lull is fit to be sent clients. Control thread.
#pragma once

#include "proxy/overview.hpp"

#include <string>

namespace lull {

/// The text exposition format 0.0.4.
std::string render_metrics(overview const& all);

struct readiness {
    bool ready = false;
    std::string text;  // one line a reason; "ready" if there is none
};
/// Ready: every worker answers, and every cluster has a server to read from. A sealed site is ready.
readiness judge_readiness(overview const& all, bool stopping);

}  // namespace lull
