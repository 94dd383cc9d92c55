package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"runtime"
	"sync"

	"github.com/rolegate/rolegate/internal/telemetry"
)

// file is the log file. Lines in it are whole: what a failed write left of one is cut off again, or completed by the
// next.
type file struct {
	path   string
	locked bool // one process writes to it, because its records are linked
	log    *slog.Logger

	mu     sync.Mutex
	f      *os.File
	fresh  bool                                // no record stands in it yet
	last   string                              // hash of the last record that was written, where they are linked
	stays  bool                                // it is not opened anew any more
	append func(*os.File, []byte) (int, error) // (*os.File).Write; tests have worse ones
}

// lastLimit bounds the last line of a file: a record's own text, and a megabyte of arguments in their worst spelling.
const lastLimit = 16 << 20

// beginning is what every record begins with.
const beginning = `{"schema":"rolegate.audit/`

// openFile opens the file and mends its end. With a chain, it goes on from the file's last record.
func openFile(path string, c *chain, log *slog.Logger) (*file, error) {
	f := &file{path: path, locked: c != nil, log: log, append: (*os.File).Write}
	opened, end, err := f.enter("")
	if err != nil {
		return nil, err
	}
	f.f, f.last = opened, zeroHash
	if end.seq > 0 {
		c.seq, c.hash, f.last = end.seq, end.hash, end.hash
	}
	return f, nil
}

// enter opens the file and mends its end; see there.
func (f *file) enter(after string) (*os.File, link, error) {
	opened, err := f.open()
	if err != nil {
		return nil, link{}, err
	}
	end, err := f.mend(opened, after)
	if err != nil {
		_ = opened.Close()
		return nil, link{}, err
	}
	return opened, end, nil
}

// next opens the file that has the name now, to go on with what is being written. One that is there already must end
// with the record that was written last.
func (f *file) next() (*os.File, error) {
	opened, _, err := f.enter(f.last)
	return opened, err
}

// open opens the file to append to it, and closes it to others.
func (f *file) open() (*os.File, error) {
	if info, err := os.Lstat(f.path); err == nil && !info.Mode().IsRegular() { // else opening it might wait for a reader
		return nil, f.irregular(info)
	}
	opened, err := os.OpenFile(f.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|noFollow, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.secure(opened); err != nil {
		_ = opened.Close()
		return nil, err
	}
	return opened, nil
}

func (f *file) secure(opened *os.File) error {
	info, err := opened.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return f.irregular(info)
	}
	if f.locked {
		if err := lock(opened); err != nil {
			return fmt.Errorf("%s: another process writes to it, and a chain has one writer: give each a file of its own: %w", f.path, err)
		}
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && runtime.GOOS != "windows" {
		attrs := []any{slog.String(telemetry.KeyPath, f.path), slog.String("mode", mode.String())}
		if err := opened.Chmod(0o600); err != nil {
			f.log.Warn("others can read the audit file, and that can't be changed", append(attrs, slog.String(telemetry.KeyError, err.Error()))...)
			return nil
		}
		f.log.Warn("others could read the audit file: it is its owner's alone now", attrs...)
	}
	return nil
}

func (f *file) irregular(info fs.FileInfo) error {
	if info.Mode()&fs.ModeSymlink != 0 {
		return fmt.Errorf("%s is a symbolic link: name the file that it leads to", f.path)
	}
	return fmt.Errorf("%s is not a regular file: name one, or none for standard output", f.path)
}

// mend cuts off a line that was being written when a process ended. Where records are linked, it gives the last one's
// link, the zero one where there is none, and refuses what can't be continued: a last line that is not of a chain, was
// changed, or does not have the hash after, if one is given. What is refused is left as it is.
func (f *file) mend(opened *os.File, after string) (end link, err error) {
	size, last, torn, err := f.tail()
	if err != nil {
		return link{}, err
	}
	if !bytes.HasPrefix([]byte(beginning), torn[:min(len(torn), len(beginning))]) {
		return link{}, fmt.Errorf("%s does not end with an audit record: move it away, or name another file", f.path)
	}
	if f.locked && len(last) > 0 {
		if end, err = f.ending(last, after); err != nil {
			return link{}, err
		}
	}
	if len(torn) > 0 {
		if err := opened.Truncate(size - int64(len(torn))); err != nil {
			return link{}, fmt.Errorf("cut off the unfinished record at the end of %s: %w", f.path, err)
		}
		f.log.Warn("the audit file ended within a record, which was cut off", slog.String(telemetry.KeyPath, f.path), slog.Int("bytes", len(torn)))
	}
	f.fresh = len(last) == 0
	return end, nil
}

// ending reads the link of a last line that a chain is to go on from.
func (f *file) ending(last []byte, after string) (link, error) {
	l, err := readLink(bytes.TrimSuffix(last, []byte("\n")))
	switch {
	case err != nil:
		return link{}, fmt.Errorf("%s can't be continued as a chain: its last line: %w; move it away, or name another file", f.path, err)
	case l.hash != l.sum:
		return link{}, fmt.Errorf("%s can't be continued as a chain: its last line was changed; see rolegate audit verify, and move the file away", f.path)
	case after != "" && l.hash != after:
		return link{}, fmt.Errorf("%s is there already, and does not end with the record that was written last: move it away", f.path)
	}
	return l, nil
}

// tail reads the end of the file: its last whole line with its line break, and what stands behind that.
func (f *file) tail() (size int64, last, torn []byte, err error) {
	in, err := os.Open(f.path)
	if err != nil {
		return 0, nil, nil, err
	}
	defer func() { _ = in.Close() }()
	info, err := in.Stat()
	if err != nil {
		return 0, nil, nil, err
	}
	size = info.Size()
	for n := int64(64 << 10); ; n *= 4 {
		n = min(n, size, 2*lastLimit)
		end := make([]byte, n)
		if _, err := in.ReadAt(end, size-n); err != nil && !errors.Is(err, io.EOF) {
			return 0, nil, nil, err
		}
		stop := bytes.LastIndexByte(end, '\n')
		start := bytes.LastIndexByte(end[:max(stop, 0)], '\n')
		switch {
		case start >= 0 || n == size:
			return size, end[start+1 : stop+1], end[stop+1:], nil
		case n == 2*lastLimit:
			return 0, nil, nil, fmt.Errorf("%s ends with a line that is too long for an audit record: move it away, or name another file", f.path)
		}
	}
}

// write appends buf[off:]; see output.
func (f *file) write(buf []byte, off int) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.f != nil && deleted(f.f) { // whoever writes to it writes for nobody
		_ = f.f.Close()
		f.f = nil
	}
	if f.f == nil {
		opened, err := f.next()
		if err != nil {
			return off, err
		}
		f.f = opened
	}
	if off > 0 && buf[off-1] != '\n' && f.ended() {
		off = bytes.LastIndexByte(buf[:off], '\n') + 1 // the line's beginning is in another file
	}
	begun := off
	n, err := f.append(f.f, buf[off:])
	if off += n; err != nil {
		off = f.untear(buf, off)
	}
	if end := bytes.LastIndexByte(buf[:off], '\n') + 1; end > begun {
		f.fresh = false
		if f.locked {
			f.last = lastHash(buf[:end])
		}
	}
	return off, err
}

// empty tells whether no record stands in the file yet.
func (f *file) empty() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.f != nil && f.fresh
}

// untear cuts off the beginning of a line that a failed write left, if it still stands at the end of the file.
func (f *file) untear(buf []byte, off int) int {
	begin := bytes.LastIndexByte(buf[:off], '\n') + 1
	if begin == off {
		return off
	}
	info, err := f.f.Stat()
	if err != nil || info.Size() < int64(off-begin) || f.f.Truncate(info.Size()-int64(off-begin)) != nil {
		return off
	}
	return begin
}

// ended tells whether the file is empty or ends with a whole line.
func (f *file) ended() bool {
	_, _, torn, err := f.tail()
	return err == nil && len(torn) == 0
}

// reopen opens the file that has the name now.
func (f *file) reopen() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stays || f.f != nil && f.locked && f.named() {
		return nil // to open it twice would mean to be locked out by oneself
	}
	opened, err := f.next()
	if err != nil {
		return err
	}
	if f.f != nil {
		err = errors.Join(f.f.Sync(), f.f.Close())
	}
	f.f = opened
	return err
}

// stay has the file not opened anew any more: the end has come.
func (f *file) stay() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stays = true
}

// named tells whether the name still leads to the open file.
func (f *file) named() bool {
	mine, err := f.f.Stat()
	if err != nil {
		return false
	}
	now, err := os.Lstat(f.path)
	return err == nil && os.SameFile(mine, now)
}

func (f *file) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.f == nil {
		return nil
	}
	err := errors.Join(f.f.Sync(), f.f.Close())
	f.f = nil
	return err
}
