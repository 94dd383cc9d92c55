//go:build unix

package gateway

import "syscall"

// ownLines says whether this system can tell that an idle connection is still good.
const ownLines = true

// silentAndOpen says whether nothing has come on an idle connection, not even its end.
func silentAndOpen(raw syscall.RawConn) (ok bool) {
	if raw == nil {
		return false
	}
	err := raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		ok = err == syscall.EAGAIN || err == syscall.EWOULDBLOCK
		return true
	})
	return ok && err == nil
}
