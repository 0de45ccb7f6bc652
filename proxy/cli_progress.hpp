// What a waiting command shows: one line that changes on a terminal, a line a change elsewhere.
#pragma once

#include <nlohmann/json.hpp>

#include <string>

namespace lull::cli {

/// A JSON value as text, strings without quotes.
std::string text_of(nlohmann::json const& value);

/// What clients have said, without what a terminal would obey.
std::string printable(std::string text);

class progress {
  public:
    progress();
    /// `site_status` as GET /sites/SITE gives it.
    void show(std::string const& site, nlohmann::json const& site_status);
    /// The line is over; to be called before anything else is printed.
    void end();

  private:
    bool const terminal_;
    std::string last_;
};

}  // namespace lull::cli
