package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/rolegate/rolegate/internal/fake/idp"
	trouble "github.com/rolegate/rolegate/internal/fake/stage"
)

// TestDemoTellsWhatIsNotAsItShouldBe: a demo that can't fail shows nothing.
func TestDemoTellsWhatIsNotAsItShouldBe(t *testing.T) {
	for name, spoil := range map[string]func(*stage){
		"STS refuses":       func(s *stage) { s.world.STS.Fail(trouble.Trouble{Code: "AccessDenied"}) },
		"the backend fails": func(s *stage) { s.world.AWS.Fail(trouble.Trouble{Status: 500}) },
		"a role is mistaken": func(s *stage) {
			s.world.IDP.AddUser(idp.User{Name: "eve", Claims: idp.Claims{"groups": []string{"s3-readers"}}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, name := range []string{"AWS_ENDPOINT_URL_STS", "AWS_CA_BUNDLE", "AWS_USE_FIPS_ENDPOINT", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"} {
				t.Setenv(name, os.Getenv(name)) // given back at the end
			}
			s, err := raise(t.Context(), "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.lower() }()
			spoil(s)
			var out bytes.Buffer
			if s.play(t.Context(), &page{out: &out}) == 0 {
				t.Errorf("nothing was wrong:\n%s", &out)
			}
		})
	}
}

func TestColoursAreForTerminals(t *testing.T) {
	var out bytes.Buffer
	if isTerminal(&out) {
		t.Error("a buffer is no terminal")
	}
	if plain := (&page{}).good("x"); plain != "x" {
		t.Errorf("%q", plain)
	}
	if painted := (&page{colour: true}).good("x"); !strings.HasPrefix(painted, "\x1b[32m") || !strings.HasSuffix(painted, "\x1b[0m") {
		t.Errorf("%q", painted)
	}
}
