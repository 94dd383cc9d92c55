// Package fake is a small world for rolegate to stand in: an identity provider, an STS and an AWS MCP Server, set up as
// the tutorial sets up a company and an AWS account.
//
// It promises that the three are real HTTP servers on loopback that check whoever talks to them, and that the documents
// it hands out are the tutorial's, filled in for this world. It must never import the product, so that a mistake is not
// made on both sides, and never be reachable from outside the machine.
package fake

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rolegate/rolegate/internal/fake/aws"
	"github.com/rolegate/rolegate/internal/fake/idp"
	"github.com/rolegate/rolegate/internal/fake/sts"
)

// What the tutorial names.
const (
	Account     = "123456789012"
	Audience    = "toolhive-aws-proxy"
	Region      = "us-east-1"
	Service     = "aws-mcp"
	DefaultRole = "arn:aws:iam::123456789012:role/DefaultMCPRole"
	S3Role      = "arn:aws:iam::123456789012:role/S3ReadOnlyMCPRole"
	AdminRole   = "arn:aws:iam::123456789012:role/AdminMCPRole"
)

// Options change the world. The zero value is the tutorial's.
type Options struct {
	// Users replaces Users().
	Users []idp.User
	// Port is the proxyPort of the documents. Default 8080.
	Port int
	// ResourceURL is the resourceUrl of the documents. Default "http://localhost:<Port>/mcp".
	ResourceURL string
	// IDP, STS and AWS change the servers; what the world needs of them is filled in.
	IDP idp.Options
	STS sts.Options
	AWS aws.Options
}

// World is the three servers, listening.
type World struct {
	IDP *idp.Issuer
	STS *sts.Server
	AWS *aws.Server

	port            int
	resourceURL     string
	region, service string
}

// Users are the tutorial's three: ann reads S3, bob is an admin of engineering, eve is in nothing.
func Users() []idp.User {
	return []idp.User{
		{Name: "ann", Claims: idp.Claims{"groups": []string{"s3-readers", "developers"}}},
		{Name: "bob", Claims: idp.Claims{"groups": []string{"admins"}, "org": "engineering"}},
		{Name: "eve"},
	}
}

// NewWorld starts the three servers. Close it when done.
func NewWorld(o Options) (*World, error) {
	w := &World{port: cmp.Or(o.Port, 8080)}
	w.resourceURL = cmp.Or(o.ResourceURL, fmt.Sprintf("http://localhost:%d/mcp", w.port))
	if err := w.start(o); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

func (w *World) start(o Options) (err error) {
	o.IDP.Users = o.Users
	if o.Users == nil {
		o.IDP.Users = Users()
	}
	o.IDP.Audience = cmp.Or(o.IDP.Audience, Audience)
	if w.IDP, err = idp.Start(o.IDP); err != nil {
		return fmt.Errorf("start identity provider: %w", err)
	}
	o.STS.Account = Account
	if w.STS, err = sts.Start(o.STS); err != nil {
		return fmt.Errorf("start STS: %w", err)
	}
	w.STS.AddProvider(sts.Provider{Issuer: w.IDP.URL(), ClientIDs: []string{Audience}})
	for _, name := range []string{"DefaultMCPRole", "S3ReadOnlyMCPRole", "AdminMCPRole"} {
		if _, err = w.STS.AddRole(sts.Role{Name: name, Trust: w.TrustPolicy()}); err != nil {
			return err
		}
	}
	w.region, w.service = cmp.Or(o.AWS.Region, Region), cmp.Or(o.AWS.Service, Service)
	o.AWS.Vault = w.STS
	if w.AWS, err = aws.Start(o.AWS); err != nil {
		return fmt.Errorf("start AWS MCP Server: %w", err)
	}
	return nil
}

// Close stops the servers.
func (w *World) Close() error {
	var errs []error
	if w.AWS != nil {
		errs = append(errs, w.AWS.Close())
	}
	if w.STS != nil {
		errs = append(errs, w.STS.Close())
	}
	if w.IDP != nil {
		errs = append(errs, w.IDP.Close())
	}
	return errors.Join(errs...)
}

// Token is a token of a user, good for an hour. It panics where there is no such user: that is a mistake in a test.
func (w *World) Token(user string, opts ...idp.Option) string {
	t, err := w.IDP.TokenFor(user, opts...)
	if err != nil {
		panic(err)
	}
	return t
}

// ExpiredToken is a token of a user that expired an hour ago.
func (w *World) ExpiredToken(user string) string {
	past := time.Now().Add(-2 * time.Hour)
	c := idp.Claims{"sub": user, "iat": past.Unix(), "exp": past.Add(time.Hour).Unix()}
	maps.Copy(c, w.IDP.Users()[user])
	return w.IDP.Mint(c)
}

// RemoteURL is the MCP endpoint of the AWS MCP Server.
func (w *World) RemoteURL() string { return w.AWS.URL() + "/mcp" }

// Env is what the gateway needs in its environment, as KEY=value.
func (w *World) Env() []string { return []string{"AWS_ENDPOINT_URL_STS=" + w.STS.URL()} }

// UserNames are the names of the users, sorted.
func (w *World) UserNames() []string { return slices.Sorted(maps.Keys(w.IDP.Users())) }

// Leaks tells which secrets stand where they must not: at the backend, or in a log.
func (w *World) Leaks(log string) (found []string) {
	for _, v := range w.AWS.Violations() {
		found = append(found, "reached the backend: "+v.What)
	}
	for _, lent := range w.STS.Issued() {
		if strings.Contains(log, lent.SecretAccessKey) || strings.Contains(log, lent.SessionToken) {
			found = append(found, "the log holds a lent secret")
		}
	}
	if strings.Contains(log, "eyJ") {
		found = append(found, "the log holds a token")
	}
	return found
}
