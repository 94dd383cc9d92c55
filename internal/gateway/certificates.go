package gateway

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rolegate/rolegate/internal/telemetry"
)

// certificates serves a certificate from files, and reads them again when they change. A pair that can't be read
// leaves the old one in place.
type certificates struct {
	certFile, keyFile string
	log               *slog.Logger
	current           atomic.Pointer[tls.Certificate]

	mu      sync.Mutex // held by the one handshake that looks at the files
	checked time.Time
	seen    [2]fileState
}

type fileState struct {
	size    int64
	changed time.Time
}

// recheck is how long a look at the files is good for.
const recheck = 2 * time.Second

func newCertificates(certFile, keyFile string, log *slog.Logger) (*certificates, error) {
	c := &certificates{certFile: certFile, keyFile: keyFile, log: log, checked: time.Now(), seen: states(certFile, keyFile)}
	if err := c.load(); err != nil {
		return nil, fmt.Errorf("load TLS certificate: %w", err)
	}
	return c, nil
}

func (c *certificates) load() error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return err
	}
	c.current.Store(&pair)
	return nil
}

func (c *certificates) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c.mu.TryLock() {
		c.refresh()
		c.mu.Unlock()
	}
	return c.current.Load(), nil
}

func (c *certificates) refresh() {
	if time.Since(c.checked) < recheck {
		return
	}
	c.checked = time.Now()
	now := states(c.certFile, c.keyFile)
	if now == c.seen {
		return
	}
	if err := c.load(); err != nil { // perhaps only one of the two was written yet: look again next time
		c.log.Warn("TLS certificate not reloaded", slog.String(telemetry.KeyError, err.Error()))
		return
	}
	c.seen = now
	c.log.Info("TLS certificate reloaded")
}

func states(files ...string) (s [2]fileState) {
	for i, f := range files {
		if info, err := os.Stat(f); err == nil {
			s[i] = fileState{info.Size(), info.ModTime()}
		}
	}
	return s
}
