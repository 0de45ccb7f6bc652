// Metrics as they are gathered, before they are text. Control thread.
#pragma once

#include "proxy/stats.hpp"

#include <prometheus/metric_family.h>

#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace lull {

using metric_labels = std::vector<prometheus::ClientMetric::Label>;

/// A family is on its page when it goes out of scope, unless it has nothing.
class metric_family {
  public:
    metric_family(std::vector<prometheus::MetricFamily>& out, prometheus::MetricType type, char const* name, char const* help)
        : out_(out) {
        made_.name = name;
        made_.help = help;
        made_.type = type;
    }
    metric_family(metric_family const&) = delete;
    metric_family& operator=(metric_family const&) = delete;
    ~metric_family() {
        if (!made_.metric.empty()) out_.push_back(std::move(made_));
    }

    template <class Number>
    metric_family& add(metric_labels where, Number value) {
        prometheus::ClientMetric m;
        m.label = std::move(where);
        (made_.type == prometheus::MetricType::Counter ? m.counter.value : m.gauge.value) = static_cast<double>(value);
        made_.metric.push_back(std::move(m));
        return *this;
    }
    metric_family& add(metric_labels where, duration_histogram const& h) {
        prometheus::ClientMetric m;
        m.label = std::move(where);
        for (std::size_t i = 0; i < duration_histogram::finite; ++i) {
            m.histogram.sample_count += h.in(i);
            m.histogram.bucket.push_back({m.histogram.sample_count, static_cast<double>(duration_histogram::bound_us(i)) / 1e6});
        }
        m.histogram.sample_count += h.in(duration_histogram::finite);
        m.histogram.bucket.push_back({m.histogram.sample_count, std::numeric_limits<double>::infinity()});
        m.histogram.sample_sum = static_cast<double>(h.sum_us()) / 1e6;
        made_.metric.push_back(std::move(m));
        return *this;
    }

  private:
    std::vector<prometheus::MetricFamily>& out_;
    prometheus::MetricFamily made_;
};

class metric_page {
  public:
    metric_family counter(char const* name, char const* help) { return {out_, prometheus::MetricType::Counter, name, help}; }
    metric_family gauge(char const* name, char const* help) { return {out_, prometheus::MetricType::Gauge, name, help}; }
    metric_family histogram(char const* name, char const* help) { return {out_, prometheus::MetricType::Histogram, name, help}; }
    std::string text() const;

  private:
    std::vector<prometheus::MetricFamily> out_;
};

}  // namespace lull
