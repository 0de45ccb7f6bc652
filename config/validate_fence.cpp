#include "config/validate_fence.hpp"

namespace lull::config {

void validate_fence(config const& all, site const& s, std::string const& path, refusal const& refuse) {
    auto const cluster = all.clusters.find(s.cluster);
    if (cluster == all.clusters.end()) return;
    bool const asked = s.fence == fence_policy::required || s.fence == fence_policy::wanted;
    if (asked && !cluster->second.fence)
        refuse(path + ".fence", "the cluster has no role that could put up a fence",
               "add `fence: {user: lull_fence, password: ...}` to the cluster (deploy/fence-role.sql makes the role), or "
               "write `fence: off`");
    if (s.prepared != prepared_policy::report && !cluster->second.control)
        refuse(path + ".prepared_transactions", "without a control role nobody sees prepared transactions",
               "add `control: {user: lull, password: ...}` to the cluster, or write `prepared_transactions: report`");
}

}  // namespace lull::config
