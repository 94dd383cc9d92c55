package telemetry

import dto "github.com/prometheus/client_model/go"

// Gather collects the metrics as /metrics serves them, for who shows them.
func (m *Metrics) Gather() ([]*dto.MetricFamily, error) { return m.registry.Gather() }
