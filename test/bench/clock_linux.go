package main

import (
	"os/exec"
	"syscall"
	"time"
	"unsafe"
)

// cpuTime is how much processor time a process has used so far, to the nanosecond: its clock is the one that
// clock_getcpuclockid(3) names.
func cpuTime(pid int) (time.Duration, error) {
	var t syscall.Timespec
	clock := int32(^pid<<3 | 2)
	if _, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, uintptr(clock), uintptr(unsafe.Pointer(&t)), 0); errno != 0 {
		return 0, errno
	}
	return time.Duration(t.Nano()), nil
}

// tie has a process end with this one, however this one ends.
func tie(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
