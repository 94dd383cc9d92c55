package fake

import (
	"bytes"
	"sync"
)

// Log keeps what is written to it. It may be read while others write.
type Log struct {
	mu  sync.Mutex
	all bytes.Buffer
}

// Write is io.Writer's.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

// String is all of it.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}
