//go:build !unix

package gateway

import "syscall"

// ownLines says whether this system can tell that an idle connection is still good.
const ownLines = false

func silentAndOpen(syscall.RawConn) bool { return false }
