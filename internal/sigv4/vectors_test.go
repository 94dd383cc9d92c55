package sigv4_test

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/rolegate/rolegate/internal/sigv4"
)

// unsupported would name the published cases that can't pass, each with the reason. There is none.
var unsupported = map[string]string{}

// The header form of AWS's signing test suite. Its query form is of pre-signed URLs, which are not ours.
func TestPublishedVectors(t *testing.T) {
	suite, err := txtar.ParseFile("testdata/aws-signing-test-suite.txtar")
	if err != nil {
		t.Fatal(err)
	}
	if len(suite.Files) != 38 {
		t.Fatalf("%d cases, want 38", len(suite.Files))
	}
	for _, f := range suite.Files {
		t.Run(f.Name, func(t *testing.T) {
			if why, ok := unsupported[f.Name]; ok {
				t.Skip(why)
			}
			req, want, at := parseVector(t, string(f.Data))
			req.Normalize = !strings.HasSuffix(f.Name, "-unnormalized")
			creds := sigv4.NewCredentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "")
			got := sigv4.Sign(creds, at, "us-east-1", "service", req)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("Authorization (-want +got):\n%s", diff)
			}
		})
	}
}

var signedHeaders = regexp.MustCompile(`SignedHeaders=([^,]+)`)

// parseVector takes a signed request apart: the request with the headers that were signed, its Authorization, its date.
func parseVector(t *testing.T, text string) (req sigv4.TextRequest, authorization, at string) {
	t.Helper()
	head, body, ok := strings.Cut(text, "\n\n")
	if !ok {
		t.Fatal("no empty line after the headers")
	}
	head = regexp.MustCompile(`\n[ \t]+`).ReplaceAllString(head, " ") // continuation lines
	lines := strings.Split(head, "\n")
	method, rest, _ := strings.Cut(lines[0], " ")
	target := strings.TrimSuffix(rest, " HTTP/1.1")
	path, query, _ := strings.Cut(target, "?")
	var all [][2]string
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		switch strings.ToLower(name) {
		case "authorization":
			authorization = value
			continue
		case "x-amz-date":
			at = value
		}
		all = append(all, [2]string{name, value})
	}
	signed := strings.Split(signedHeaders.FindStringSubmatch(authorization)[1], ";")
	all = slices.DeleteFunc(all, func(h [2]string) bool { return !slices.Contains(signed, strings.ToLower(h[0])) })
	sum := sha256.Sum256([]byte(strings.TrimSuffix(body, "\n")))
	return sigv4.TextRequest{Method: method, Path: path, Query: query, BodyHash: hex.EncodeToString(sum[:]), Headers: all}, authorization, at
}
