package telemetry

import (
	"context"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// maxSeries bounds the series of one metric. Whatever comes later shares one that says so, as OpenTelemetry's own limit
// has it; ours is lower, so that nothing is counted twice.
const maxSeries = 1000

// series finds, by key, what a metric keeps for one set of attributes. The key is made of the values of labels; finding
// takes no lock and allocates nothing.
type series[K comparable, T any] struct {
	attributes func(K) []attribute.KeyValue
	fresh      func(metric.MeasurementOption) *T

	mu       sync.Mutex // held to add one
	known    atomic.Pointer[map[K]*T]
	overflow *T
}

func (s *series[K, T]) of(key K) *T {
	if known := s.known.Load(); known != nil {
		if v, ok := (*known)[key]; ok {
			return v
		}
	}
	return s.add(key)
}

func (s *series[K, T]) add(key K) *T {
	s.mu.Lock()
	defer s.mu.Unlock()
	var known map[K]*T
	if old := s.known.Load(); old != nil {
		known = *old
	}
	if v, ok := known[key]; ok {
		return v
	}
	if len(known) >= maxSeries {
		if s.overflow == nil {
			s.overflow = s.fresh(metric.WithAttributeSet(attribute.NewSet(attribute.Bool(attrOverflow, true))))
		}
		return s.overflow
	}
	grown := make(map[K]*T, len(known)+1)
	for k, v := range known {
		grown[k] = v
	}
	v := s.fresh(metric.WithAttributeSet(attribute.NewSet(s.attributes(key)...)))
	grown[key] = v
	s.known.Store(&grown)
	return v
}

// each visits what there is.
func (s *series[K, T]) each(visit func(*T)) {
	if known := s.known.Load(); known != nil {
		for _, v := range *known {
			visit(v)
		}
	}
	s.mu.Lock()
	overflow := s.overflow
	s.mu.Unlock()
	if overflow != nil {
		visit(overflow)
	}
}

// labels are up to two values of labels.
type labels [2]string

// labelled makes attributes of labels; a name that is not given has no value.
func labelled(names ...string) func(labels) []attribute.KeyValue {
	return func(values labels) []attribute.KeyValue {
		attrs := make([]attribute.KeyValue, len(names))
		for i, name := range names {
			attrs[i] = attribute.String(name, values[i])
		}
		return attrs
	}
}

// counter is a counter by labels. Each series is a number that the readers look at when they collect, so that counting
// is one look-up and one addition however many readers there are.
type counter struct {
	series[labels, count]
}

type count struct {
	n      atomic.Int64
	option metric.MeasurementOption
}

func newCount(o metric.MeasurementOption) *count { return &count{option: o} }

func (c *counter) add(n int64, values ...string) {
	var key labels
	copy(key[:], values)
	c.of(key).n.Add(n)
}

func (c *counter) observe(_ context.Context, o metric.Int64Observer) error {
	c.each(func(v *count) { o.Observe(v.n.Load(), v.option) })
	return nil
}

// active is how much of a series goes on at the moment.
type active struct {
	n      atomic.Int64
	option metric.MeasurementOption
	ended  func() // made once
}

func newActive(o metric.MeasurementOption) *active {
	a := &active{option: o}
	a.ended = func() { a.n.Add(-1) }
	return a
}

// histogram is a histogram by key.
type histogram[K comparable] struct {
	series[K, point]
	to metric.Float64Histogram
}

// point is the ready-made option of one series.
type point struct{ options []metric.RecordOption }

func newPoint(o metric.MeasurementOption) *point { return &point{[]metric.RecordOption{o}} }

func newHistogram[K comparable](attributes func(K) []attribute.KeyValue, to metric.Float64Histogram) *histogram[K] {
	return &histogram[K]{series[K, point]{attributes: attributes, fresh: newPoint}, to}
}

func (h *histogram[K]) record(seconds float64, key K) {
	h.to.Record(context.Background(), seconds, h.of(key).options...)
}
