package mcp

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// TestFold: no rune of Unicode lets a name pass that some reader takes for a protocol name by ignoring case.
func TestFold(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		same := []rune{unicode.ToLower(r), unicode.ToUpper(r), unicode.ToTitle(r), unicode.ToLower(unicode.ToUpper(r))}
		for x := unicode.SimpleFold(r); x != r; x = unicode.SimpleFold(x) {
			same = append(same, x)
		}
		for _, x := range same {
			if x >= utf8.RuneSelf || !unicode.IsLetter(x) {
				continue
			}
			want := string(unicode.ToLower(x))
			if got := string(fold(nil, []byte(string(r)))); got != want {
				t.Errorf("%U folds to %q, other readers take it for %q", r, got, want)
			}
		}
	}
	for _, list := range []protocolNames{messageNames, paramsNames, notificationsNames, resultName, resultNames, itemNames, annotationNames} {
		for folded, name := range list {
			if len(folded) > maxName || len(name) != len(folded) {
				t.Errorf("%q: raise maxName", name)
			}
			if list.meant([]byte(strings.ToUpper(name))) != name {
				t.Errorf("%q is not found in capitals", name)
			}
		}
	}
}

// TestPlain: the fast search finds what the slow one finds, at every offset and for every byte.
func TestPlain(t *testing.T) {
	for c := range 256 {
		for at := range 20 {
			src := []byte(strings.Repeat("\x80\x7f x", 6))
			src[at], src[at+1] = byte(c), '"'
			want := at + 1
			if c == '"' || c == '\\' || c < ' ' {
				want = at
			}
			if got := plain(src, 0); got != want {
				t.Fatalf("byte %#x at %d: found at %d", c, at, got)
			}
		}
	}
}

// FuzzScan holds the scanner against jsontext: both accept the same bytes, but for the rules that are ours alone.
func FuzzScan(f *testing.F) {
	for _, s := range []string{
		`{"a":[1,2.5,-0,1e9,true,false,null,"x\n\u00e9\ud83d\ude00"],"b":{}}`, `{"a":1,"\u0061":2}`, `"\ud800\u0041"`,
		`[[[[]]]]`, `-`, `01`, `1.`, `1e`, `tru`, "\"\t\"", `{"a":1,}`, `[1,]`, `"\u12"`, "\"\xc0\xaf\"", `"\udc00"`, `{"\ud800":1,"\ufffd":2}`,
		`{"x\u00zz":1}`, `"\ud800\uzzzz"`, `"\`, `"\u00e`, `{"a"`, `{"a":`, `[1`, `[1 2]`, `[x]`, `"\b\f\n\r\t\/\\\"\u00Ff"`, `"abc`,
		`{"params":{"na\u006de":1,"name\u0000":2}}`, strings.Repeat("[", 70), strings.Repeat(`{"a":`, 70),
		`{` + members(20) + `,"k3":0}`, ``, " \r\n\t1 ", "\ufeff1", `"\ud800\ud800\udc00"`, `{"a":1 "b":2}`, `{"a" 1}`, `{1:2}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		s := scan(src)
		defer s.done()
		valid := jsontext.Value(src).IsValid()
		switch {
		case s.broken == tooDeep, s.flaw == flawCase, s.flaw == flawControl: // ours alone
		case (s.broken == "" && s.flaw == "") != valid:
			t.Errorf("%q: broken %q, flaw %q; jsontext: %v", src, s.broken, s.flaw, valid)
		}
		if s.broken == "" && s.flaw == "" {
			sameStrings(t, src)
		}
	})
}

// sameStrings compares what text makes of each string with what jsontext makes of it.
func sameStrings(t *testing.T, src []byte) {
	d := jsontext.NewDecoder(strings.NewReader(string(src)))
	for {
		if d.PeekKind() == '"' {
			v, err := d.ReadValue()
			if err != nil {
				t.Fatal(err)
			}
			want, err := jsontext.AppendUnquote(nil, v)
			if got, ok := text(v); !ok || err != nil || string(got) != string(want) {
				t.Errorf("%s: %q, jsontext: %q, %v", v, got, want, err)
			}
		} else if _, err := d.ReadToken(); err != nil {
			return
		}
	}
}

// members is the inside of an object with n different names.
func members(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"k` + strconv.Itoa(i) + `":` + strconv.Itoa(i))
	}
	return b.String()
}

// BenchmarkScan is the scan alone, without reading and hashing.
func BenchmarkScan(b *testing.B) {
	argument := func(what string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":{` + what + `}}}`
	}
	for name, body := range map[string]string{
		"1K":        argument(`"a":"` + strings.Repeat("x", 900) + `"`),
		"100K":      argument(`"a":"` + strings.Repeat("x", 100<<10) + `"`),
		"100KNames": argument(members(7000)),
	} {
		b.Run(name, func(b *testing.B) {
			src := []byte(body)
			b.ReportAllocs()
			b.SetBytes(int64(len(src)))
			for b.Loop() {
				s := scan(src)
				if s.broken != "" || s.flaw != "" {
					b.Fatal(errors.New(s.broken + s.flaw))
				}
				s.done()
			}
		})
	}
}
