package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strconv"
)

// A chain links records: each has its place (seq), the hash of the one before it (prev) and its own (hash), in this
// order, as the last members of its line. The hash is the SHA-256 of the line's bytes up to and without the comma before
// "hash", so that whoever has the line can compute it, with no notion of JSON. There is no key in it: who can write to
// the file can make a new chain. What a chain shows is that nothing was changed since somebody noted a hash of it.

// chain is the end of a chain.
type chain struct {
	seq  uint64 // of the last record; 0 before the first
	hash string // of the last record; zeroHash before the first
}

const (
	hashSize = 2 * sha256.Size
	zeroHash = "0000000000000000000000000000000000000000000000000000000000000000"

	seqName  = `,"seq":`
	prevName = `,"prev":"`
	hashName = `","hash":"`
)

func newChain() *chain { return &chain{hash: zeroHash} }

// append appends a line, an object without a line break, as the next of the chain.
func (c *chain) append(b, line []byte) []byte {
	begin := len(b)
	b = append(b, line[:len(line)-1]...)
	b = strconv.AppendUint(append(b, seqName...), c.seq+1, 10)
	b = append(append(append(b, prevName...), c.hash...), '"')
	sum := sha256.Sum256(b[begin:])
	b = append(b, hashName[1:]...)
	b = hex.AppendEncode(b, sum[:])
	c.seq, c.hash = c.seq+1, string(b[len(b)-hashSize:])
	return append(b, `"}`...)
}

// link is what a line says about its place in a chain.
type link struct {
	seq        uint64
	prev, hash string
	sum        string // what hash should be
}

var errNoLink = errors.New("it has no seq, prev and hash at its end: it is not a record of a chain")

// readLink reads the end of a line, without the line break.
func readLink(line []byte) (link, error) {
	rest, ok := bytes.CutSuffix(line, []byte(`"}`))
	if !ok || len(rest) < hashSize {
		return link{}, errNoLink
	}
	rest, hash := rest[:len(rest)-hashSize], rest[len(rest)-hashSize:]
	if !bytes.HasSuffix(rest, []byte(hashName)) || !isHash(hash) {
		return link{}, errNoLink
	}
	hashed := rest[:len(rest)-len(hashName)+1]
	rest = hashed[:len(hashed)-1]
	if len(rest) < hashSize {
		return link{}, errNoLink
	}
	rest, prev := rest[:len(rest)-hashSize], rest[len(rest)-hashSize:]
	if !bytes.HasSuffix(rest, []byte(prevName)) || !isHash(prev) {
		return link{}, errNoLink
	}
	rest = rest[:len(rest)-len(prevName)]
	i := bytes.LastIndex(rest, []byte(seqName))
	if i < 0 {
		return link{}, errNoLink
	}
	digits := string(rest[i+len(seqName):])
	seq, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || seq == 0 || strconv.FormatUint(seq, 10) != digits {
		return link{}, errNoLink
	}
	sum := sha256.Sum256(hashed)
	return link{seq: seq, prev: string(prev), hash: string(hash), sum: hex.EncodeToString(sum[:])}, nil
}

// lastHash is the hash of the last of linked lines.
func lastHash(lines []byte) string {
	rest := bytes.TrimSuffix(lines, []byte("\"}\n"))
	return string(rest[max(0, len(rest)-hashSize):])
}

func isHash(b []byte) bool {
	for _, c := range b {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(b) == hashSize
}
