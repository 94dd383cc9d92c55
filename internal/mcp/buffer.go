package mcp

import (
	"sync"
	"sync/atomic"
)

// buffer is the memory of one body. It is shared by a Call and the readers that Open gave; the last to let go
// returns it to its pool.
type buffer struct {
	data []byte
	pool *sync.Pool // nil: too large to keep
	refs atomic.Int32
}

// slack is room after a round size, so that a body of just that size still leaves room to see its end.
const slack = 512

// shelves are the sizes that are kept between requests. What is larger is rare, and left to the garbage collector.
var shelves = [...]*shelf{{size: 8<<10 + slack}, {size: 128<<10 + slack}, {size: 1<<20 + slack}}

type shelf struct {
	size int
	pool sync.Pool
}

// newBuffer gives an empty buffer with a capacity of at least n bytes and one reference.
func newBuffer(n int) *buffer {
	var b *buffer
	for _, s := range shelves {
		if n > s.size {
			continue
		}
		if kept, ok := s.pool.Get().(*buffer); ok {
			b = kept
			b.data = b.data[:0]
		} else {
			b = &buffer{data: make([]byte, 0, s.size), pool: &s.pool}
		}
		break
	}
	if b == nil {
		b = &buffer{data: make([]byte, 0, n)}
	}
	b.refs.Store(1)
	return b
}

// drop lets go of one reference.
func (b *buffer) drop() {
	if b.refs.Add(-1) == 0 && b.pool != nil {
		b.pool.Put(b)
	}
}

// set puts data in place of the buffer's, which it was appended to. A buffer that had to grow is not kept.
func (b *buffer) set(data []byte) {
	if cap(data) != cap(b.data) {
		b.pool = nil
	}
	b.data = data
}
