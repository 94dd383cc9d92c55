package ceph_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/rolegate/rolegate/internal/fake/idp"
	"github.com/rolegate/rolegate/test/counterparts/lab"
)

// refusals: what Ceph refuses, and what the client is told then. Ceph has two codes for what AWS has four, so the
// rows of InvalidIdentityToken and ValidationError in rolegate's table are not reached here: AWS's code is named where
// it is another.
func (s *stand) refusals(t *testing.T) {
	judge := lab.NewJudge(t, "", s.recorder)
	usual := setup{mappings: map[string]string{
		"other-audience": role("OtherAudienceRole"), "stranger": role("StrangerRole"), "no-role": role("NoSuchRole"),
		"other-account": strings.Replace(role("S3ReadOnlyMCPRole"), account, "999999999999", 1),
	}}
	tests := []struct {
		name  string
		setup setup
		group string
		mint  func() string // default: of the issuer, registered, with the group
		code  string        // Ceph's
		want  refusal
		hint  string // in the log
	}{
		{name: "the trust policy has another audience", group: "other-audience", code: "AccessDenied", want: denied, hint: "trust policy of role " + role("OtherAudienceRole")},
		{name: "the trust policy has another provider", group: "stranger", code: "AccessDenied", want: denied, hint: "trust policy of role " + role("StrangerRole")},
		{name: "there is no such role", group: "no-role", code: "AccessDenied", want: denied, hint: "trust policy of role " + role("NoSuchRole")},
		{name: "a role of another account", group: "other-account", code: "AccessDenied", want: denied, hint: "trust policy of role arn:aws:iam::999999999999:role/"},
		// AWS: InvalidIdentityToken, so 502.
		{name: "a key that rolegate knows and STS does not", group: "s3-readers", code: "AccessDenied", want: denied, hint: "trust policy of role", mint: func() string {
			return s.issuer.token(unknown, idp.Claims{"sub": "ann", "groups": "s3-readers"})
		}},
		// AWS: ValidationError, so 500 as well.
		{name: "a duration over the role's maximum", setup: setup{duration: 3601}, group: "s3-readers", code: "InvalidArgument", want: setting, hint: "S3ReadOnlyMCPRole with a code that has no meaning here"},
		// AWS takes the plus sign.
		{name: "a session name that STS does not take", code: "InvalidArgument", want: setting, hint: "S3ReadOnlyMCPRole with a code that has no meaning here", mint: func() string {
			return s.issuer.token(registered, idp.Claims{"sub": "ann+mcp@example.com", "groups": "s3-readers"})
		}},
		// AWS: InvalidIdentityToken, so 502.
		{name: "the provider is not registered", setup: setup{issuer: s.stranger, mappings: usual.mappings}, code: "AccessDenied", want: denied, hint: "trust policy of role", mint: func() string {
			return s.stranger.token(registered, idp.Claims{"sub": "ann", "groups": "stranger"})
		}},
		// AWS: InvalidIdentityToken, so 502.
		{
			name: "the audience is not registered", code: "AccessDenied", want: denied, hint: "trust policy of role " + role("UnregisteredAudienceRole"),
			setup: setup{audience: "unregistered-audience", mappings: map[string]string{"unregistered": role("UnregisteredAudienceRole")}},
			mint: func() string {
				return s.issuer.token(registered, idp.Claims{"sub": "ann", "aud": "unregistered-audience", "groups": "unregistered"})
			},
		},
	}
	var shared *lab.Gate
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inner := *s
			inner.t = t
			g := shared
			switch {
			case test.setup.issuer != nil || test.setup.audience != "" || test.setup.duration != 0:
				test.setup.remote = judge.URL() + "/mcp"
				g = inner.serve(test.setup)
			case g == nil:
				usual.remote = judge.URL() + "/mcp"
				shared = s.serve(usual) // it serves until the last case
				g = shared
			}
			token := s.issuer.token(registered, idp.Claims{"sub": "ann", "groups": []string{test.group}})
			if test.mint != nil {
				token = test.mint()
			}
			s.recorder.take()
			post(t, g, token).refused(t, test.want)
			calls := s.recorder.take()
			if len(calls) != 1 || calls[0].Code != test.code {
				t.Errorf("calls of STS %+v; it should be one, refused with %s", calls, test.code)
			}
			says(t, g, test.hint)
			// A trust policy that says no is remembered: the next request does not ask again.
			post(t, g, token).refused(t, test.want)
			if calls := s.recorder.take(); test.want == denied && len(calls) != 0 {
				t.Errorf("asked again: %+v", calls)
			}
		})
	}
	if n := len(judge.Requests()); n != 0 {
		t.Errorf("%d requests of refused callers reached the backend", n)
	}
	s.straight(t)
}

// straight: what rolegate refuses itself never gets to STS, so Ceph is asked directly whether it refuses it too.
func (s *stand) straight(t *testing.T) {
	good := s.issuer.token(registered, idp.Claims{"sub": "ann"})
	head, _, _ := strings.Cut(good, ".")
	for name, test := range map[string]struct {
		token string
		code  string
	}{
		"as it is":              {good, ""},
		"claims changed":        {head + "." + strings.SplitN(s.issuer.token(registered, idp.Claims{"sub": "eve"}), ".", 3)[1] + "." + strings.SplitN(good, ".", 3)[2], "AccessDenied"},
		"the stranger's key":    {s.issuer.Mint(idp.Claims{"sub": "ann"}, idp.WithKey(s.stranger.keys[registered].private), idp.WithKID(registered)), "AccessDenied"},
		"expired":               {s.issuer.token(registered, idp.Claims{"sub": "ann", "iat": 1700000000, "exp": 1700003600}), "AccessDenied"},
		"not a token":           {"a.b.c", "AccessDenied"},
		"without any signature": {s.issuer.Mint(idp.Claims{"sub": "ann"}, idp.WithAlg("none")), "AccessDenied"},
	} {
		s.recorder.take()
		resp, err := http.PostForm(s.recorder.url, url.Values{
			"Action": {"AssumeRoleWithWebIdentity"}, "Version": {"2011-06-15"}, "RoleArn": {role("S3ReadOnlyMCPRole")},
			"RoleSessionName": {"ann"}, "DurationSeconds": {"900"}, "WebIdentityToken": {test.token},
		})
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if calls := s.recorder.take(); len(calls) != 1 || calls[0].Code != test.code {
			t.Errorf("%s: %+v; it should be %q", name, calls, test.code)
		}
	}
}

// unwrapped: a refusal in a form that is not STS's has no code that the SDK could read, so rolegate does not guess at
// what it means.
func (s *stand) unwrapped(t *testing.T) {
	judge := lab.NewJudge(t, "", s.recorder)
	g := s.serve(setup{remote: judge.URL() + "/mcp", sts: s.recorder.raw, mappings: map[string]string{"no-role": role("NoSuchRole")}})
	post(t, g, s.issuer.token(registered, idp.Claims{"sub": "ann", "groups": "no-role"})).refused(t, odd)
	says(t, g, "perhaps not STS")
	if a := post(t, g, s.issuer.token(registered, idp.Claims{"sub": "ann", "groups": "s3-readers"})); a.status != http.StatusOK {
		t.Errorf("a caller who is not refused: %d %s", a.status, a.body)
	}
}
