#include "proxy/metric_page.hpp"

#include <prometheus/text_serializer.h>

#include <sstream>

namespace lull {

std::string metric_page::text() const {
    std::ostringstream text;
    prometheus::TextSerializer().Serialize(text, out_);
    return text.str();
}

}  // namespace lull
