package audit

import (
	"strings"
	"testing"
)

// TestPlainText: the fast look finds what the slow one finds, at every offset and for every byte.
func TestPlainText(t *testing.T) {
	for c := range 256 {
		for at := range 20 {
			text := []byte(strings.Repeat("a~ !", 5))
			text[at] = byte(c)
			if got := plainText(string(text)); got != plain[c] {
				t.Errorf("byte %#x at %d: %v", c, at, got)
			}
		}
	}
}
