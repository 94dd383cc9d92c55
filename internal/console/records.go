package console

import (
	"bytes"
	"sync"
)

const (
	ringSize  = 200      // records that are kept for who comes later
	maxRecord = 32 << 10 // bytes; a longer one is not kept
)

// ring keeps the latest records, in memory that is used again.
type ring struct {
	mu       sync.Mutex
	slots    [ringSize][]byte
	next     uint64 // number of the next record, from 0
	withheld uint64 // records that were not taken
}

// Publish takes one audit record, as JSON; the bytes are the caller's again when it returns. One that is longer than
// 32 KiB, or that holds what looks like a token, is counted and not kept.
func (c *Console) Publish(record []byte) {
	if c == nil {
		return
	}
	refused := len(record) > maxRecord || looksLikeToken(record)
	c.ring.mu.Lock()
	defer c.ring.mu.Unlock()
	if refused {
		c.ring.withheld++
		return
	}
	slot := &c.ring.slots[c.ring.next%ringSize]
	*slot = append((*slot)[:0], record...)
	c.ring.next++
}

// since appends to b the records from number after on, as server-sent events. It gives the number that comes next, and
// how many were gone already.
func (r *ring) since(b []byte, after uint64) (events []byte, next, missed uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if oldest := r.next - min(r.next, ringSize); after < oldest {
		missed, after = oldest-after, oldest
	}
	for ; after < r.next; after++ {
		b = event(b, "record", r.slots[after%ringSize])
	}
	return b, r.next, missed
}

func (r *ring) refused() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.withheld
}

// event appends one server-sent event. Line breaks, which JSON has only between its tokens, become spaces.
func event(b []byte, name string, data []byte) []byte {
	b = append(append(append(b, "event: "...), name...), "\ndata: "...)
	at := len(b)
	b = append(b, data...)
	for i := at; i < len(b); i++ {
		if b[i] == '\n' || b[i] == '\r' {
			b[i] = ' '
		}
	}
	return append(b, "\n\n"...)
}

// looksLikeToken finds text of the form of a JWT: parts of base64url with two dots between, the first of which begins
// with eyJ, which is `{"` in base64url, as every JOSE header does (RFC 7515, section 7.1).
func looksLikeToken(text []byte) bool {
	for {
		i := bytes.IndexByte(text, 'J') // the rarest of the three letters
		if i < 0 {
			return false
		}
		begins := i >= 2 && text[i-2] == 'e' && text[i-1] == 'y'
		text = text[i+1:]
		if !begins {
			continue
		}
		length, dots := dotted(text)
		if dots == 2 {
			return true
		}
		text = text[length:] // what begins within it has no more dots
	}
}

// dotted is how long text is base64url with dots in it, and how many dots these are. At the second one it ends.
func dotted(text []byte) (length, dots int) {
	for i, c := range text {
		switch {
		case c == '.':
			if dots++; dots == 2 {
				return i, dots
			}
		case !base64url(c):
			return i, dots
		}
	}
	return len(text), dots
}

func base64url(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '='
}
