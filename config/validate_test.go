package config_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/config"
)

// proxySpec is a spec without a fault.
func proxySpec() *config.RemoteProxy {
	return &config.RemoteProxy{
		RemoteURL: "https://aws-mcp.us-east-1.api.aws/mcp",
		OIDC: &config.OIDC{
			Type: "inline", ResourceURL: "https://mcp.example.com/mcp",
			Inline: &config.OIDCInline{Issuer: "https://idp.example.com", Audience: "aws-proxy"},
		},
		ExternalAuthConfigRef: &config.Ref{Name: "sts"},
	}
}

// sources finds one external authentication and nothing else.
func sources(region, role string) config.Sources {
	none := func(string, string) ([]byte, error) { return nil, errors.New("is not there") }
	return config.Sources{
		ExternalAuth: func(string) (*config.ExternalAuth, error) {
			return &config.ExternalAuth{Type: "awsSts", AWSSTS: &config.AWSSTS{Region: region, FallbackRoleArn: role}}, nil
		},
		OIDCConfig: func(string) (*config.OIDCConfig, error) { return nil, errors.New("is not there") },
		Secret:     none, ConfigMap: none,
	}
}

func resolve(change func(*config.RemoteProxy)) (*config.Proxy, config.Problems) {
	spec := proxySpec()
	change(spec)
	return config.Resolve("aws", "mcp", spec, sources("us-east-1", "arn:aws:iam::123456789012:role/R"))
}

func TestRemoteURL(t *testing.T) {
	for url, ok := range map[string]bool{
		"https://aws-mcp.us-east-1.api.aws/mcp":           true,
		"https://aws-mcp.us-east-1.api.aws/mcp?a=b%20c&d": true,
		"https://aws-mcp.us-east-1.api.aws":               true,
		"https://10.0.0.1:8443/a//b":                      true,
		"https://[::1]:8443/mcp":                          true,
		"http://localhost:8000/mcp":                       true,
		"http://127.0.0.2/mcp":                            true,
		"http://[::1]/mcp":                                true,
		"http://sts.localhost/mcp":                        true,
		"http://mcp.example.com/mcp":                      false,
		"http://127.0.0.1.example.com/mcp":                false,
		"http://localhost.example.com/mcp":                false,
		"https://user:pass@mcp.example.com/mcp":           false,
		"https://mcp.example.com/mcp#x":                   false,
		"https://mcp.example.com/mcp#":                    false,
		"https://mcp.example.com/../mcp":                  false,
		"https://mcp.example.com/%2E%2e/mcp":              false,
		"https://mcp.example.com/a/./b":                   false,
		"https://mcp.example.com/a b":                     false,
		"https://mcp.example.com/ä":                       false,
		"https://mcp.example.com\\@evil.example.com/":     false,
		"https://mcp_server.example.com/":                 true,
		"https://mcp.example.com:0/":                      false,
		"https://mcp.example.com:65536/":                  false,
		"https://mcp.example.com:/":                       false,
		"https://-mcp.example.com/":                       false,
		"https://mcp..example.com/":                       false,
		"https:///mcp":                                    false,
		"https:mcp.example.com":                           false,
		"//mcp.example.com/mcp":                           false,
		"mcp.example.com/mcp":                             false,
		"ftp://mcp.example.com/mcp":                       false,
		"https://mcp.example.com/%zz":                     false,
		" https://mcp.example.com/mcp":                    false,
		"":                                                false,
	} {
		p, problems := resolve(func(s *config.RemoteProxy) { s.RemoteURL = url })
		if (p != nil) != ok {
			t.Errorf("%q: loads: %v, want %v\n%s", url, p != nil, ok, problems)
		}
		if p != nil && p.RemoteURL != url {
			t.Errorf("%q became %q", url, p.RemoteURL)
		}
		if strings.Contains(problems.String(), "pass@") {
			t.Errorf("a password is told: %s", problems)
		}
	}
	if p, problems := resolve(func(s *config.RemoteProxy) {
		s.RemoteURL, s.AllowInsecureRemote = "http://mcp.example.com/mcp", true
	}); p == nil {
		t.Error(problems)
	}
}

func TestEndpoint(t *testing.T) {
	for _, tt := range []struct{ resource, endpoint, origin string }{
		{"", "/mcp", ""},
		{"https://mcp.example.com", "/mcp", "https://mcp.example.com"},
		{"https://mcp.example.com/", "/", "https://mcp.example.com"},
		{"https://MCP.example.com:443/aws/mcp", "/aws/mcp", "https://mcp.example.com"},
		{"http://localhost:8080/mcp/", "/mcp/", "http://localhost:8080"},
		{"http://[::1]:80/mcp", "/mcp", "http://[::1]"},
		{"https://mcp.example.com/mcp?x", "-", ""},
		{"https://mcp.example.com/mcp?", "-", ""},
		{"https://mcp.example.com/mcp#x", "-", ""},
		{"https://mcp.example.com/a/../mcp", "-", ""},
		{"https://mcp.example.com/%6dcp", "-", ""},
		{"https://mcp.example.com/.well-known/oauth-protected-resource", "-", ""},
		{"/mcp", "-", ""},
	} {
		p, problems := resolve(func(s *config.RemoteProxy) { s.OIDC.ResourceURL = tt.resource })
		if p == nil {
			if tt.endpoint != "-" {
				t.Errorf("%q: %s", tt.resource, problems)
			}
			continue
		}
		var origins []string
		if tt.origin != "" {
			origins = []string{tt.origin}
		}
		if p.Endpoint != tt.endpoint || !cmp.Equal(p.AllowedOrigins, origins) {
			t.Errorf("%q: endpoint %q, origins %q; want %q, %q", tt.resource, p.Endpoint, p.AllowedOrigins, tt.endpoint, origins)
		}
	}
}

func TestRegionsAndRoles(t *testing.T) {
	for _, tt := range []struct {
		region, role string
		ok           bool
	}{
		{"us-east-1", "arn:aws:iam::123456789012:role/R", true},
		{"ap-southeast-7", "arn:aws:iam::123456789012:role/path/to/R", true},
		{"mx-central-1", "arn:aws:iam::123456789012:role/aws-reserved/sso.amazonaws.com/R_+=,.@-1", true},
		{"cn-north-1", "arn:aws-cn:iam::123456789012:role/R", true},
		{"us-gov-west-1", "arn:aws-us-gov:iam::123456789012:role/R", true},
		{"eusc-de-east-1", "arn:aws-eusc:iam::123456789012:role/R", true},
		{"us-iso-east-1", "arn:aws-iso:iam::123456789012:role/R", true},
		{"us-isob-east-1", "arn:aws-iso-b:iam::123456789012:role/R", true},
		{"eu-isoe-west-1", "arn:aws-iso-e:iam::123456789012:role/R", true},
		{"us-isof-south-1", "arn:aws-iso-f:iam::123456789012:role/R", true},
		{"xx-new-east-1", "arn:aws-new:iam::123456789012:role/R", true}, // a warning
		{"us-east-1", "arn:aws-cn:iam::123456789012:role/R", false},
		{"us-gov-west-1", "arn:aws:iam::123456789012:role/R", false},
		{"us-east", "arn:aws:iam::123456789012:role/R", false},
		{"US-EAST-1", "arn:aws:iam::123456789012:role/R", false},
		{"us-east-1a", "arn:aws:iam::123456789012:role/R", false},
		{"us-east-1\n", "arn:aws:iam::123456789012:role/R", false},
		{"us-east-1.evil.example", "arn:aws:iam::123456789012:role/R", false},
		{"", "arn:aws:iam::123456789012:role/R", false},
		{"us-east-1", "arn:aws:iam::12345678901:role/R", false},
		{"us-east-1", "arn:aws:iam::1234567890123:role/R", false},
		{"us-east-1", "arn:aws:iam:us-east-1:123456789012:role/R", false},
		{"us-east-1", "arn:aws:iam::123456789012:user/R", false},
		{"us-east-1", "arn:aws:sts::123456789012:assumed-role/R/s", false},
		{"us-east-1", "arn:aws:iam::123456789012:role/", false},
		{"us-east-1", "arn:aws:iam::123456789012:role//R", false},
		{"us-east-1", "arn:aws:iam::123456789012:role/R*", false},
		{"us-east-1", "arn:aws:iam::123456789012:role/R S", false},
		{"us-east-1", " arn:aws:iam::123456789012:role/R", false},
		{"us-east-1", "arn:aws:iam::123456789012:role/R\n", false},
		{"us-east-1", "arn:aws:iam::123456789012:role/" + strings.Repeat("r", 64), true},
		{"us-east-1", "arn:aws:iam::123456789012:role/" + strings.Repeat("r", 65), false},
		{"us-east-1", "arn:AWS:iam::123456789012:role/R", false},
		{"us-east-1", "R", false},
		{"us-east-1", "", false},
	} {
		p, problems := config.Resolve("aws", "mcp", proxySpec(), sources(tt.region, tt.role))
		if (p != nil) != tt.ok {
			t.Errorf("%q in %q: loads: %v, want %v\n%s", tt.role, tt.region, p != nil, tt.ok, problems)
		}
	}
}

// What is checked field by field, each by one change to a spec without a fault.
func TestValidate(t *testing.T) {
	for field, change := range map[string]func(*config.RemoteProxy){
		"transport":                      func(s *config.RemoteProxy) { s.Transport = "http" },
		"proxyPort":                      func(s *config.RemoteProxy) { s.ProxyPort = -1 },
		"port":                           func(s *config.RemoteProxy) { s.OldPort = 70000 },
		"allowedOrigins[1]":              func(s *config.RemoteProxy) { s.AllowedOrigins = []string{"https://a.example.com", "null"} },
		"allowedOrigins":                 func(s *config.RemoteProxy) { s.AllowedOrigins = make([]string, 65) },
		"externalAuthConfigRef.name":     func(s *config.RemoteProxy) { s.ExternalAuthConfigRef.Name = "" },
		"sessionKeyRef.key":              func(s *config.RemoteProxy) { s.SessionKeyRef = &config.SecretKeyRef{Name: "a", Key: "../b"} },
		"sessionKeyRef":                  func(s *config.RemoteProxy) { s.SessionKeyRef = &config.SecretKeyRef{Name: "a", Key: "b"} },
		"caBundleRef":                    func(s *config.RemoteProxy) { s.CABundleRef = &config.CABundleRef{} },
		"oidcConfig.type":                func(s *config.RemoteProxy) { s.OIDC.Type = "" },
		"oidcConfig.inline":              func(s *config.RemoteProxy) { s.OIDC.Inline = nil },
		"oidcConfig.configMap":           func(s *config.RemoteProxy) { s.OIDC.ConfigMap = &config.Opaque{} },
		"oidcConfig.scopes[0]":           func(s *config.RemoteProxy) { s.OIDC.Scopes = []string{"openid profile"} },
		"oidcConfig.inline.issuer":       func(s *config.RemoteProxy) { s.OIDC.Inline.Issuer = "https://idp.example.com/#" },
		"oidcConfig.inline.jwksUrl":      func(s *config.RemoteProxy) { s.OIDC.Inline.JWKSURL = "http://idp.example.com/keys" },
		"oidcConfigRef.name":             func(s *config.RemoteProxy) { s.OIDC, s.OIDCRef = nil, &config.OIDCRef{Name: "x", Audience: "a"} },
		"oidcConfigRef.audience":         func(s *config.RemoteProxy) { s.OIDC, s.OIDCRef = nil, &config.OIDCRef{Name: "x"} },
		"limits.writeTimeout":            func(s *config.RemoteProxy) { s.Limits.WriteTimeout = "-5s" },
		"limits.responseTimeout":         func(s *config.RemoteProxy) { s.Limits.ResponseTimeout = "0s" },
		"limits.maxHeaderBytes":          func(s *config.RemoteProxy) { s.Limits.MaxHeaderBytes = 100 },
		"limits.maxConnections":          func(s *config.RemoteProxy) { s.Limits.MaxConnections = -1 },
		"limits.maxStreamsPerCaller":     func(s *config.RemoteProxy) { s.Limits.MaxStreamsPerCaller = -1 },
		"oidcConfig.inline.audience":     func(s *config.RemoteProxy) { s.OIDC.Inline.Audience = "" },
		"endpointPrefix":                 func(s *config.RemoteProxy) { s.EndpointPrefix = "/x" },
		"unauthenticated":                func(s *config.RemoteProxy) { s.Unauthenticated = &config.Unauthenticated{Acknowledge: true} },
		"oidcConfig.inline.clientSecret": func(s *config.RemoteProxy) { s.OIDC.Inline.ClientSecret = "hunter2" },
	} {
		p, problems := resolve(change)
		found := false
		for _, e := range problems.Errors() {
			found = found || e.Field == field && e.Kind == config.KindProxy
		}
		if p != nil || !found {
			t.Errorf("%s: no mistake of it\n%s", field, problems)
		}
		if strings.Contains(problems.String(), "hunter2") {
			t.Errorf("a secret is told: %s", problems)
		}
	}
	if p, _ := config.Resolve(strings.Repeat("n", 47), "mcp", proxySpec(), sources("us-east-1", "arn:aws:iam::123456789012:role/R")); p != nil {
		t.Error("a name that is too long for the Service is let through")
	}
	if p, problems := resolve(func(*config.RemoteProxy) {}); p == nil || len(problems) > 0 {
		t.Errorf("the spec without a fault: %s", problems)
	}
}

func TestAWSSTS(t *testing.T) {
	const role = "arn:aws:iam::123456789012:role/R"
	for field, change := range map[string]func(*config.AWSSTS){
		"awsSts":                     func(s *config.AWSSTS) { s.FallbackRoleArn = "" },
		"awsSts.service":             func(s *config.AWSSTS) { s.Service = "AWS MCP" },
		"awsSts.sessionDuration":     func(s *config.AWSSTS) { s.SessionDuration = new(int32(899)) },
		"awsSts.subjectProviderName": func(s *config.AWSSTS) { s.SubjectProviderName = "okta" },
		"awsSts.roleClaim":           func(s *config.AWSSTS) { s.RoleClaim = " groups" },
		"awsSts.roleMappings":        func(s *config.AWSSTS) { s.RoleMappings = make([]config.RoleMapping, 257) },
		"awsSts.roleMappings[0]": func(s *config.AWSSTS) {
			s.RoleMappings = []config.RoleMapping{{Claim: "a", Matcher: "true", RoleArn: role}}
		},
		"awsSts.roleMappings[0].claim":   func(s *config.AWSSTS) { s.RoleMappings = []config.RoleMapping{{RoleArn: role}} },
		"awsSts.roleMappings[0].roleArn": func(s *config.AWSSTS) { s.RoleMappings = []config.RoleMapping{{Claim: "a"}} },
		"awsSts.roleMappings[0].onError": func(s *config.AWSSTS) {
			s.RoleMappings = []config.RoleMapping{{Matcher: "true", RoleArn: role, OnError: "ignore"}}
		},
		"awsSts.roleMappings[1].onError": func(s *config.AWSSTS) {
			s.RoleMappings = []config.RoleMapping{{Claim: "b", RoleArn: role}, {Claim: "a", RoleArn: role, OnError: "skip"}}
		},
	} {
		a := &config.ExternalAuth{Type: "awsSts", AWSSTS: &config.AWSSTS{Region: "us-east-1", FallbackRoleArn: role}}
		change(a.AWSSTS)
		a.Default()
		problems := a.Validate()
		found := false
		for _, e := range problems.Errors() {
			found = found || e.Field == field && e.Kind == config.KindAuth
		}
		if !found {
			t.Errorf("%s: no mistake of it\n%s", field, problems)
		}
	}
}

// Resolve leaves what it is given as it was: the operator's objects belong to a cache.
func TestResolveChangesNothing(t *testing.T) {
	spec, before := proxySpec(), proxySpec()
	auth := &config.ExternalAuth{Type: "awsSts", AWSSTS: &config.AWSSTS{
		Region: "us-east-1", RoleMappings: []config.RoleMapping{{Matcher: "true", RoleArn: "arn:aws:iam::123456789012:role/R"}},
	}}
	from := sources("", "")
	from.ExternalAuth = func(string) (*config.ExternalAuth, error) { return auth, nil }
	p, problems := config.Resolve("aws", "mcp", spec, from)
	if p == nil {
		t.Fatal(problems)
	}
	if p.AWSSTS.RoleMappings[0].OnError != "skip" {
		t.Errorf("onError is %q", p.AWSSTS.RoleMappings[0].OnError)
	}
	if diff := cmp.Diff(before, spec); diff != "" {
		t.Errorf("the proxy changed (-before +after):\n%s", diff)
	}
	if auth.AWSSTS.Service != "" || auth.AWSSTS.RoleMappings[0].OnError != "" {
		t.Errorf("the external authentication changed: %+v", auth.AWSSTS)
	}
}
