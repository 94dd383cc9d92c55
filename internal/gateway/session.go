package gateway

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"

	"github.com/rolegate/rolegate/internal/fault"
	"github.com/rolegate/rolegate/internal/token"
)

// A session id of the remote is worth a login to whoever holds it. What a client gets is
// "rg1.<MAC>.<the remote's id>", where the MAC binds it to the proxy, the issuer, the subject and the role: someone
// else's id, an altered one, or one from before the role changed opens nothing, and no replica has to remember anything.

const (
	sessionPrefix = "rg1."
	macLen        = 43 // 32 bytes in unpadded base64url
)

type sessionKey []byte

func newSessionKey() sessionKey {
	key := make(sessionKey, 32)
	_, _ = rand.Read(key) // never fails: crypto/rand crashes the process instead
	return key
}

// binder binds session ids for one proxy.
type binder struct {
	key      sessionKey
	resource string // namespace/name of the proxy
}

// seal makes the id that the client gets. An empty id stays empty.
func (b binder) seal(c *token.Caller, roleARN, id string) string {
	if id == "" {
		return ""
	}
	return sessionPrefix + b.mac(c, roleARN, id) + "." + id
}

// open gives the remote's id back, or the error that makes a client initialize again.
func (b binder) open(c *token.Caller, roleARN, sealed string) (string, error) {
	if sealed == "" {
		return "", nil
	}
	lost := fault.New(fault.SessionLost, "session not found")
	rest, ok := strings.CutPrefix(sealed, sessionPrefix)
	if !ok || len(rest) < macLen+2 || rest[macLen] != '.' {
		return "", lost.Hint("the session id was not made by this gateway")
	}
	mac, id := rest[:macLen], rest[macLen+1:]
	if !hmac.Equal([]byte(mac), []byte(b.mac(c, roleARN, id))) {
		return "", lost.Hint("the session id belongs to another caller or role, or was made with another key; set sessionKeyRef where there are replicas")
	}
	return id, nil
}

func (b binder) mac(c *token.Caller, roleARN, id string) string {
	var issuer, subject string
	if c != nil {
		issuer, subject = c.Issuer, c.Subject.ID
	}
	message := make([]byte, 0, 512)
	for _, part := range [...]string{b.resource, issuer, subject, roleARN, id} {
		message = append(binary.BigEndian.AppendUint64(message, uint64(len(part))), part...)
	}
	h := hmac.New(sha256.New, b.key)
	h.Write(message)
	var sum [sha256.Size]byte
	var text [macLen]byte
	base64.RawURLEncoding.Encode(text[:], h.Sum(sum[:0]))
	return string(text[:])
}
