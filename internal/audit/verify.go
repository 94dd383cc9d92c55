package audit

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// Break is a place where a chain does not hold.
type Break struct {
	File string
	Line int // from 1; 0 for the file as a whole
	What string
}

// String prints "file:line: what is wrong".
func (b Break) String() string {
	if b.Line == 0 {
		return b.File + ": " + b.What
	}
	return fmt.Sprintf("%s:%d: %s", b.File, b.Line, b.What)
}

// Verifier follows a chain through files. The zero value begins with any chain, and with any record of it: what came
// before may have been put away.
type Verifier struct {
	Records  int    // that were read
	First    uint64 // the first record's place in the chain
	Last     uint64 // the last one's
	LastHash string // the last one's hash, good for noting down
	Breaks   []Break
	Cut      int // breaks beyond those, of which there may be mostBreaks

	file string
	line int
	seen func(hash string) // may be nil
}

// mostBreaks is how many places are told.
const mostBreaks = 100

// OnRecord has f told the hash of every record that is intact.
func (v *Verifier) OnRecord(f func(hash string)) { v.seen = f }

// File reads the next file: the oldest first. The error says that it can't be read to its end; what is wrong with the
// chain until there is among the Breaks.
func (v *Verifier) File(name string, r io.Reader) error {
	v.file, v.line = name, 0
	return Lines(r, func(line []byte, flaw error) {
		v.line++
		if flaw != nil {
			v.broken("%v", flaw)
		}
		v.record(line, flaw == nil)
	})
}

func (v *Verifier) broken(format string, args ...any) {
	if len(v.Breaks) == mostBreaks {
		v.Cut++
		return
	}
	v.Breaks = append(v.Breaks, Break{v.file, v.line, fmt.Sprintf(format, args...)})
}

func (v *Verifier) record(line []byte, whole bool) {
	v.Records++
	l, err := readLink(line)
	if err != nil {
		if whole { // else that was told
			v.broken("%v", err)
		}
		return
	}
	if l.hash != l.sum {
		v.broken("record %d was changed: its hash is %s..., and its bytes give %s...", l.seq, l.hash[:12], l.sum[:12])
		v.assume(l)
		return
	}
	if !bytes.HasPrefix(line, []byte(beginning)) || !jsontext.Value(line).IsValid() {
		v.broken("record %d is not JSON of a form that is known here", l.seq)
	}
	v.follow(l)
	if v.seen != nil {
		v.seen(l.hash)
	}
}

// assume goes on behind a record that was changed, and so can't be asked where it stood.
func (v *Verifier) assume(l link) {
	if v.Last++; v.First == 0 {
		v.First, v.Last = l.seq, l.seq
	}
	v.LastHash = l.hash
}

// follow compares a record's place with the one that it should have.
func (v *Verifier) follow(l link) {
	switch {
	case v.First == 0:
		v.First = l.seq
		if l.seq == 1 && l.prev != zeroHash {
			v.broken("record 1 names a record before it")
		}
	case l.seq == v.Last && l.hash == v.LastHash:
		v.broken("record %d stands here twice", l.seq)
		return
	case l.seq == 1 && l.prev == zeroHash:
		v.broken("a new chain begins after record %d: what came between can't be told", v.Last)
	case l.seq <= v.Last:
		v.broken("record %d comes after record %d: it was moved or doubled, or the files are not in order", l.seq, v.Last)
		return
	case l.seq > v.Last+1:
		v.broken("record %d comes after record %d: %s", l.seq, v.Last, missing(v.Last+1, l.seq-1))
	case l.prev != v.LastHash:
		v.broken("record %d does not follow this record %d, but one with the hash %s...", l.seq, v.Last, l.prev[:12])
	}
	v.Last, v.LastHash = l.seq, l.hash
}

func missing(from, to uint64) string {
	if from == to {
		return fmt.Sprintf("record %d is missing, or stands elsewhere", from)
	}
	return fmt.Sprintf("records %d to %d are missing, or stand elsewhere", from, to)
}

// What may be wrong with a line of a file.
var (
	ErrTorn    = errors.New("ends without a line break: it is cut off, or was changed")
	ErrTooLong = errors.New("is too long for an audit record")
)

// Lines calls f for each line of a log file, without its line break. The flaw is nil, or ErrTorn for a last line that had
// none, or ErrTooLong for a line that is not given then. Files that were compressed with gzip are read as what they hold;
// the error of one that is cut off or broken comes after the whole lines before that place. The bytes are good until f
// returns.
func Lines(r io.Reader, f func(line []byte, flaw error)) error {
	in := bufio.NewReaderSize(r, 64<<10)
	if magic, _ := in.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		unzipped, err := gzip.NewReader(in)
		if err != nil {
			return err
		}
		in = bufio.NewReaderSize(unzipped, 64<<10)
	}
	var long []byte
	for tooLong := false; ; {
		piece, err := in.ReadSlice('\n')
		tooLong = tooLong || len(long)+len(piece) > lastLimit
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			if !tooLong {
				long = append(long, piece...)
			}
			continue
		case err != nil && !errors.Is(err, io.EOF):
			return err
		}
		line := piece
		if len(long) > 0 && !tooLong {
			line = append(long, piece...)
		}
		long = long[:0]
		switch body, whole := bytes.CutSuffix(line, []byte("\n")); {
		case tooLong:
			f(nil, ErrTooLong)
		case whole:
			f(body, nil)
		case len(line) > 0:
			f(line, ErrTorn)
		}
		if tooLong = false; err != nil {
			return nil
		}
	}
}
