//go:build !linux

package load

import "time"

// pauseUntil waits for a time, as exactly as the runtime's timers do.
func pauseUntil(due time.Time) { time.Sleep(time.Until(due)) }
