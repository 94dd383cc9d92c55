package token

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// Strict reading. What two parsers could read in two ways is not read at all: a name that stands twice, bytes that are
// not UTF-8, base64 with padding, line breaks or stray bits at its end, anything after the object.

// maxNesting bounds how deep the JSON of a token may nest.
const maxNesting = 32

var errNesting = fmt.Errorf("nested deeper than %d", maxNesting)

// decodeSegment decodes one part of a compact JWS (RFC 7515, section 2: base64url without padding).
func decodeSegment(s string) ([]byte, error) {
	for i := range len(s) {
		if !isBase64URL(s[i]) {
			return nil, errors.New("not base64url")
		}
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}

// decodeObject reads one JSON object. Numbers that are integers of 64 bits become int64, all others a Number.
func decodeObject(data []byte) (map[string]any, error) {
	d := jsontext.NewDecoder(bytes.NewBuffer(data))
	if d.PeekKind() != '{' {
		return nil, errors.New("not a JSON object")
	}
	v, err := decodeValue(d)
	if err != nil {
		return nil, err
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more after the JSON object")
	}
	return v.(map[string]any), nil
}

func decodeValue(d *jsontext.Decoder) (any, error) {
	tok, err := d.ReadToken()
	if err != nil {
		return nil, err
	}
	switch tok.Kind() {
	case '{':
		return decodeMembers(d)
	case '[':
		return decodeElements(d)
	case '"':
		return tok.String(), nil
	case '0':
		return decodeNumber(tok.String())
	case 't', 'f':
		return tok.Bool(), nil
	default:
		return nil, nil
	}
}

func decodeMembers(d *jsontext.Decoder) (any, error) {
	if d.StackDepth() > maxNesting {
		return nil, errNesting
	}
	members := map[string]any{}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		key := name.String() // the token is void after the next read
		if members[key], err = decodeValue(d); err != nil {
			return nil, err
		}
	}
	_, err := d.ReadToken()
	return members, err
}

func decodeElements(d *jsontext.Decoder) (any, error) {
	if d.StackDepth() > maxNesting {
		return nil, errNesting
	}
	elements := []any{}
	for d.PeekKind() != ']' {
		v, err := decodeValue(d)
		if err != nil {
			return nil, err
		}
		elements = append(elements, v)
	}
	_, err := d.ReadToken()
	return elements, err
}

func decodeNumber(text string) (any, error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, nil
	}
	if _, err := strconv.ParseFloat(text, 64); err != nil {
		return nil, errors.New("a number is out of range")
	}
	return Number(text), nil
}
