package main

import (
	"context"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/internal/fake/sts"
)

// wayOut is a forward proxy, and the only one that knows where its hosts are.
type wayOut struct {
	url   string
	hosts map[string]string // name -> host:port

	mu    sync.Mutex
	asked map[string]bool
}

func newWayOut(t *testing.T, hosts map[string]string) *wayOut {
	t.Helper()
	p := &wayOut{hosts: hosts, asked: map[string]bool{}}
	transport := &http.Transport{DisableCompression: true}
	forward := &httputil.ReverseProxy{Transport: transport, FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Host = p.hosts[r.In.URL.Hostname()] // the Host header stays: it is signed
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.asked[r.URL.Hostname()] = true
		p.mu.Unlock()
		if p.hosts[r.URL.Hostname()] == "" || r.Method == http.MethodConnect {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { server.Close(); transport.CloseIdleConnections() })
	p.url = server.URL
	return p
}

// names are the hosts that were asked for, sorted.
func (p *wayOut) names() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Keys(p.asked))
}

// hiddenWorld is a world whose issuer is http://idp.test, which its STS finds without a proxy, at idp.
func hiddenWorld(t *testing.T) (w *fake.World, idp string) {
	t.Helper()
	w, err := fake.NewWorld(fake.Options{STS: sts.Options{Client: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, idp)
		},
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	atTheEnd(t, w)
	idp = address(t, w.IDP.URL())
	w.IDP.SetURL("http://idp.test")
	w.STS.AddProvider(sts.Provider{Issuer: w.IDP.URL(), ClientIDs: []string{fake.Audience}})
	if _, err := w.STS.AddRole(sts.Role{Name: "S3ReadOnlyMCPRole", Trust: w.TrustPolicy()}); err != nil {
		t.Fatal(err)
	}
	return w, idp
}

func address(t *testing.T, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// TestProxyOfTheEnvironment: where the only way out is a proxy, the provider, STS and the remote are all reached through
// it, streams included; and what NO_PROXY names is not.
func TestProxyOfTheEnvironment(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		direct  bool // the remote is named by NO_PROXY
		through []string
	}{
		"all through the proxy": {through: []string{"aws.test", "idp.test", "sts.test"}},
		"NO_PROXY":              {direct: true, through: []string{"idp.test", "sts.test"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, idp := hiddenWorld(t)
			aws := address(t, w.AWS.URL())
			proxy := newWayOut(t, map[string]string{"idp.test": idp, "sts.test": address(t, w.STS.URL()), "aws.test": aws})
			remote, except := "http://aws.test/mcp", "elsewhere.test"
			if tc.direct {
				// This machine under a name that Go does not take for loopback, which never goes through a proxy.
				remote, except = "http://"+strings.Replace(aws, "127.0.0.1", "0.0.0.0", 1)+"/mcp", "elsewhere.test,0.0.0.0"
			}
			documents := swap(t, w.Documents(), "remoteURL: "+w.RemoteURL(), "allowInsecureRemote: true\n  remoteURL: "+remote)
			file := filepath.Join(t.TempDir(), "documents.yaml")
			writeFile(t, file, documents)
			env := environment("AWS_ENDPOINT_URL_STS=http://sts.test", "HTTP_PROXY="+proxy.url, "HTTPS_PROXY="+proxy.url, "NO_PROXY="+except)
			p := start(t, filepath.Dir(file), env, "run", "-f", file, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-format", "json")
			var told struct{ Listen, Endpoint string }
			if err := json.Unmarshal([]byte(p.says(`"msg":"serving"`)), &told); err != nil {
				t.Fatal(err)
			}
			c := &client{url: "http://" + told.Listen + told.Endpoint, token: w.Token("ann")}
			c.enter(t)
			if role, err := c.whoami(t.Context()); err != nil || role != fake.S3Role {
				t.Errorf("role %q, %v", role, err)
			}
			heard, _ := c.events(t)
			w.AWS.Announce()
			until(t, "the event comes", func() bool { return strings.Contains(heard.String(), "list_changed") })
			if diff := cmp.Diff(tc.through, proxy.names()); diff != "" {
				t.Errorf("hosts that were reached through the proxy (-want +got):\n%s", diff)
			}
		})
	}
}
