//go:build linux || darwin

package audit

import (
	"errors"
	"os"
	"syscall"
)

// noFollow has the opening of a symbolic link fail.
const noFollow = syscall.O_NOFOLLOW

// lock keeps other processes that link records away from the file. Where the file system can't, nothing does.
func lock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return err
	}
	return nil
}

// deleted tells whether the open file has no name any more.
func deleted(f *os.File) bool {
	info, err := f.Stat()
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink == 0
}
