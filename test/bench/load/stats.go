package load

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Percentile is the smallest value that p percent of all are at or below (nearest rank). 0 of none.
func Percentile(all []time.Duration, p float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// Spread is where values lie.
type Spread struct {
	Median, Min, Max float64
}

// Spreading gives the spread of values; zeros of none. The median of an even number is the mean of the middle two.
func Spreading(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	sorted := slices.SortedFunc(slices.Values(values), cmp.Compare[float64])
	half := len(sorted) / 2
	median := sorted[half]
	if len(sorted)%2 == 0 {
		median = (sorted[half-1] + sorted[half]) / 2
	}
	return Spread{Median: median, Min: sorted[0], Max: sorted[len(sorted)-1]}
}

// Ratios divides value by value. Where one of them is not positive there is nothing to compare, and no ratio at all.
func Ratios(of, by []float64) []float64 {
	var ratios []float64
	for i := range min(len(of), len(by)) {
		if of[i] <= 0 || by[i] <= 0 {
			return nil
		}
		ratios = append(ratios, of[i]/by[i])
	}
	return ratios
}
