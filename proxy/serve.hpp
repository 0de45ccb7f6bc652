// `lull serve`: the process. Locks the state folder, loads the configuration, starts the control thread's
// loop, workers and listeners, and stays until a signal ends it.
#pragma once

#include <string>

namespace lull {

/// The exit status: 0 ended by SIGTERM or SIGINT; 1 could not start, and said why on stderr.
int serve(std::string const& config_file);

}  // namespace lull
