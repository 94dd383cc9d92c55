package sigv4_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/rolegate/rolegate/internal/sigv4"
)

// No way of printing shows a secret, neither of the credentials themselves nor of what holds them.
func TestCredentialsPrintNothing(t *testing.T) {
	creds := credentials(sessionToken)
	sigv4.SigningKey(creds, "20000101", region, service) // a derived key is a secret too
	type lease struct {
		Exported *sigv4.Credentials
		hidden   *sigv4.Credentials
	}
	values := map[string]any{
		"pointer": creds,
		"struct":  lease{creds, creds},
		"map":     map[string]*sigv4.Credentials{"a": creds},
		"value":   reflect.ValueOf(creds).Elem().Interface(), // a copy, which vet would not let us make
		"context": sigv4.With(context.Background(), creds, ""),
	}
	for name, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			leaks(t, name+" "+verb, fmt.Sprintf(verb, v))
		}
		var text, js bytes.Buffer
		slog.New(slog.NewTextHandler(&text, nil)).Info("m", "v", v)
		slog.New(slog.NewJSONHandler(&js, nil)).Info("m", "v", v)
		leaks(t, name+" text log", text.String())
		leaks(t, name+" json log", js.String())
		b, _ := json.Marshal(v)
		leaks(t, name+" json", string(b))
	}
	for got, v := range map[string]string{fmt.Sprint(creds): "fmt", fmt.Sprintf("%#v", creds): "GoString", creds.LogValue().String(): "LogValue"} {
		if !strings.Contains(got, accessKey) || !strings.Contains(got, "[redacted]") {
			t.Errorf("%s prints %s", v, got)
		}
	}
	if got := fmt.Sprint((*sigv4.Credentials)(nil)); got != "<nil>" {
		t.Errorf("nil prints %s", got)
	}
}

// An error of the transport tells nothing of what was sent.
func TestErrorsTellNoSecret(t *testing.T) {
	tr := &sigv4.Transport{Region: region, Service: service, Base: roundTripper(func(*http.Request) (*http.Response, error) {
		return nil, errors.New("connect: refused")
	})}
	req, _ := http.NewRequestWithContext(sigv4.With(t.Context(), credentials(sessionToken), hashOf(nil)), http.MethodGet, endpoint, nil)
	_, err := tr.RoundTrip(req)
	if err == nil {
		t.Fatal("no error")
	}
	leaks(t, "error", fmt.Sprintf("%+v", err))
}

func leaks(t *testing.T, how, printed string) {
	t.Helper()
	for _, s := range []string{secretKey, sessionToken, fmt.Sprintf("%x", secretKey), fmt.Sprintf("%X", sessionToken[:20])} {
		if strings.Contains(printed, s) || strings.Contains(printed, s[:12]) {
			t.Errorf("%s leaks: %.80s", how, printed)
		}
	}
}
