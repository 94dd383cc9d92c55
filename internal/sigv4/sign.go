package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"sync"
)

const algorithm = "AWS4-HMAC-SHA256"

// field is a header as it is signed: its name in lower case, its value without surplus space.
type field struct{ name, value string }

// message is what a signature covers.
type message struct {
	method   string
	path     string  // as on the wire: it is encoded once more when signed, as every service but S3 wants it
	query    string  // canonical: encoded by AWS's rule, sorted
	fields   []field // sorted by name
	bodyHash string  // hex SHA-256
}

// signingKey is the key derived for one day, region and service, with what follows from these alone.
type signingKey struct {
	day, region, service string
	scope                string    // <day>/<region>/<service>/aws4_request
	prefix               string    // the Authorization header up to the list of signed headers
	macs                 sync.Pool // hash.Hash: HMAC-SHA256 keyed with this key
}

// deriveKey makes the key by the chain of HMACs over day, region, service and "aws4_request".
func deriveKey(c *Credentials, day, region, service string) *signingKey {
	key := []byte("AWS4" + c.secretAccessKey.reveal())
	for _, part := range [...]string{day, region, service, "aws4_request"} {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	scope := day + "/" + region + "/" + service + "/aws4_request"
	k := &signingKey{day: day, region: region, service: service, scope: scope}
	k.prefix = algorithm + " Credential=" + c.AccessKeyID + "/" + scope + ", SignedHeaders="
	k.macs.New = func() any { return hmac.New(sha256.New, key) }
	return k
}

// buffers hold a canonical request while it is made. A session token may be 4 KiB.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 4096); return &b }}

// sign gives the value of the Authorization header for m at the time at (20060102T150405Z).
func (k *signingKey) sign(at string, m message) string {
	held := buffers.Get().(*[]byte)
	defer buffers.Put(held)

	b := m.appendCanonical((*held)[:0])
	sum := sha256.Sum256(b)

	b = append(b[:0], algorithm+"\n"...)
	b = append(b, at...)
	b = append(b, '\n')
	b = append(b, k.scope...)
	b = append(b, '\n')
	b = hex.AppendEncode(b, sum[:])

	mac := k.macs.Get().(hash.Hash)
	mac.Reset()
	mac.Write(b)
	signed := len(b)
	b = mac.Sum(b)
	k.macs.Put(mac)
	copy(sum[:], b[signed:])

	b = append(b[:0], k.prefix...)
	b = appendNames(b, m.fields)
	b = append(b, ", Signature="...)
	b = hex.AppendEncode(b, sum[:])
	*held = b
	return string(b)
}

// appendCanonical writes the canonical request.
func (m message) appendCanonical(b []byte) []byte {
	b = append(b, m.method...)
	b = append(b, '\n')
	b = appendEncoded(b, m.path, '/')
	b = append(b, '\n')
	b = append(b, m.query...)
	b = append(b, '\n')
	for _, f := range m.fields {
		b = append(b, f.name...)
		b = append(b, ':')
		b = append(b, f.value...)
		b = append(b, '\n')
	}
	b = append(b, '\n')
	b = appendNames(b, m.fields)
	b = append(b, '\n')
	return append(b, m.bodyHash...)
}

func appendNames(b []byte, fields []field) []byte {
	for i, f := range fields {
		if i > 0 {
			b = append(b, ';')
		}
		b = append(b, f.name...)
	}
	return b
}
