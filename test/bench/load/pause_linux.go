package load

import (
	"syscall"
	"time"
)

// pauseUntil waits for a time. The kernel's timer is right to some 50 us; that of the runtime rests on epoll, and is up
// to a millisecond late.
func pauseUntil(due time.Time) {
	for {
		left := time.Until(due)
		if left <= 0 {
			return
		}
		t := syscall.NsecToTimespec(int64(left))
		_ = syscall.Nanosleep(&t, nil) // interrupted: once more
	}
}
