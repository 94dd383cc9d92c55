package sts

import (
	"crypto/sha256"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/rolegate/rolegate/internal/token"
)

// awsClaims is how the names of the claims begin that STS carries from the token into the session: session tags
// (https://aws.amazon.com/tags, whole or flattened) and the source identity (https://aws.amazon.com/source_identity).
const awsClaims = "https://aws.amazon.com/"

// key is everything that makes a difference to what STS lends. Two callers with equal keys may have each other's lease.
type key struct {
	issuer, subject string
	audience        string // the one value of aud, or all of them, each with its length before it
	audiences       int
	party           string
	role            string
	session         string
	region          string
	duration        time.Duration
	attributes      [sha256.Size]byte // of the claims that become part of the session; zero where there are none
}

func keyOf(c *token.Caller, g Grant) key {
	k := key{
		issuer:     c.Issuer,
		subject:    c.Subject.ID,
		audiences:  len(c.Audience),
		party:      c.AuthorizedParty,
		role:       g.RoleARN,
		session:    g.SessionName,
		region:     g.Region,
		duration:   g.Duration,
		attributes: attributes(c.Subject),
	}
	if len(c.Audience) == 1 {
		k.audience = c.Audience[0]
		return k
	}
	var b strings.Builder
	for _, a := range c.Audience {
		b.WriteString(strconv.Itoa(len(a)))
		b.WriteByte(':')
		b.WriteString(a)
	}
	k.audience = b.String()
	return k
}

// attributes is a digest of the claims that STS makes tags and the source identity of.
func attributes(s token.Subject) [sha256.Size]byte {
	var found map[string]any
	for name, value := range s.Claims {
		if strings.HasPrefix(name, awsClaims) {
			if found == nil {
				found = make(map[string]any)
			}
			found[name] = value
		}
	}
	if found == nil {
		return [sha256.Size]byte{}
	}
	text, err := json.Marshal(found) // sorts the names
	if err != nil {
		return s.Token.Sum() // then the lease is for this very token
	}
	return sha256.Sum256(text)
}
