package clients_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rolegate/rolegate/internal/fake"
	"github.com/rolegate/rolegate/test/counterparts/lab"
)

// generations are those of the TypeScript SDK; see testdata/sdk.mjs.
var generations = []string{"one", "two", "modern"}

// stateful are those that have sessions.
var stateful = generations[:2]

var ann = []string{"ann"}

// TestTypeScriptSDK plays what follows on one stand.
func TestTypeScriptSDK(t *testing.T) {
	lab.Need(t)
	t.Parallel()
	b := serve(t)
	s := raise(t, b.url)
	for _, part := range []struct {
		name        string
		generations []string
		play        func(t *testing.T, b *backend, generation string)
	}{
		{"notifications arrive one by one", generations, s.steps},
		{"a long stream arrives whole", generations, s.burst},
		{"a cut stream is resumed", stateful, s.resumes},
		{"a cancellation arrives within a second", generations, s.cancels},
		{"a session is deleted", stateful, s.deletes},
		{"bodies of 3 MB", generations, s.bodies},
		{"64 sessions at once", generations, s.sessions},
	} {
		for _, generation := range part.generations {
			t.Run(part.name+"/"+generation, func(t *testing.T) { part.play(t, b, generation) })
		}
	}
}

type stream struct {
	Text string
	Seen []int
}

func upTo(n int) (all []int) {
	for i := range n {
		all = append(all, i+1)
	}
	return all
}

func (s *stand) steps(t *testing.T, _ *backend, generation string) {
	var saw stream
	s.sdk(t, generation, s.endpoint, "steps", "200", ann, &saw)
	if d := cmp.Diff(stream{"200 steps", upTo(200)}, saw); d != "" {
		t.Errorf("the client saw (-want +got)\n%s", d)
	}
}

func (s *stand) burst(t *testing.T, _ *backend, generation string) {
	var saw stream
	s.sdk(t, generation, s.endpoint, "burst", "3000", ann, &saw)
	if d := cmp.Diff(stream{"3000 at once", upTo(3000)}, saw); d != "" {
		t.Errorf("the client saw (-want +got)\n%s", d)
	}
}

// resumes cuts the client's line in the middle of a stream. The client comes back with the last event that it saw, and
// has every notification, and each once.
func (s *stand) resumes(t *testing.T, b *backend, generation string) {
	line, url := badLine(t, s.endpoint)
	b.halfway = line.cut
	defer func() { b.halfway = func() {} }()
	before := len(s.judge.Requests())
	var saw stream
	s.sdk(t, generation, url, "resume", "400", ann, &saw)
	if d := cmp.Diff(stream{"400 at once", upTo(400)}, saw); d != "" {
		t.Errorf("the client saw (-want +got)\n%s", d)
	}
	back := s.requests(before, func(r lab.JudgeRequest) bool {
		return r.Method == http.MethodGet && r.Header.Get("Last-Event-Id") != ""
	})
	if len(back) == 0 || back[0].Status != http.StatusOK {
		t.Errorf("the backend saw no resumption: %+v", back)
	}
}

func (s *stand) cancels(t *testing.T, b *backend, generation string) {
	before := len(s.judge.Requests())
	var saw struct {
		Stopped       int64
		Failure, Text string
	}
	s.sdk(t, generation, s.endpoint, "cancel", "", ann, &saw)
	select {
	case at := <-b.cancelled:
		took := at.Sub(time.UnixMilli(saw.Stopped))
		if t.Logf("the backend saw the cancellation after %s", took); took > time.Second {
			t.Error("that is too late")
		}
	case <-time.After(lab.Patience):
		t.Fatal("the backend never saw the cancellation")
	}
	if !strings.Contains(saw.Failure, "Abort") && !strings.Contains(saw.Failure, "abort") || saw.Text != "after" {
		t.Errorf("the client saw %+v", saw)
	}
	// It gets there as a message in the legacy era, as the end of the request in the modern one.
	lab.Eventually(t, "how the cancellation came", func() bool {
		return slices.ContainsFunc(s.judge.Requests()[before:], func(r lab.JudgeRequest) bool {
			if generation == "modern" {
				return strings.Contains(string(r.Body), `"hang"`) && r.Cancelled
			}
			return strings.Contains(string(r.Body), `"notifications/cancelled"`) && r.Status == http.StatusAccepted
		})
	})
}

func (s *stand) deletes(t *testing.T, b *backend, generation string) {
	lab.Eventually(t, "no session is left of the parts before", func() bool {
		for session := range b.server.Sessions() {
			_ = session.Close() // it is gone either way
		}
		return b.sessions() == 0
	})
	before := len(s.judge.Requests())
	var saw struct {
		Text, ID, Left string
		Again          int
	}
	s.sdk(t, generation, s.endpoint, "remove", "", ann, &saw)
	if saw.Text != "before" || saw.ID == "" || saw.Left != "" || saw.Again != http.StatusNotFound {
		t.Errorf("the client saw %+v", saw)
	}
	deleted := s.requests(before, func(r lab.JudgeRequest) bool { return r.Method == http.MethodDelete })
	if len(deleted) != 1 || deleted[0].Status/100 != 2 || deleted[0].Header.Get("Mcp-Session-Id") == "" {
		t.Errorf("the backend saw %+v", deleted)
	}
	if n := b.sessions(); n != 0 {
		t.Errorf("the backend has %d sessions", n)
	}
}

const bodySize = 3 << 20

func (s *stand) bodies(t *testing.T, _ *backend, generation string) {
	var saw struct {
		Bytes, Down int
		Same, Plain bool
	}
	s.sdk(t, generation, s.endpoint, "bodies", fmt.Sprint(bodySize), ann, &saw)
	if saw.Bytes != bodySize || saw.Down != bodySize || !saw.Same || !saw.Plain {
		t.Errorf("the client saw %+v", saw)
	}
}

func (s *stand) sessions(t *testing.T, _ *backend, generation string) {
	before, asked := len(s.judge.Requests()), s.STS.Count()
	users := []string{"ann", "bob", "eve"}
	var saw struct{ IDs, Wrong []string }
	s.sdk(t, generation, s.endpoint, "sessions", "64", users, &saw)
	if len(saw.IDs) != 64 || len(saw.Wrong) != 0 {
		t.Errorf("%d sessions, wrong answers: %q", len(saw.IDs), saw.Wrong)
	}
	if n := s.STS.Count() - asked; n > len(users) {
		t.Errorf("%d STS calls for %d callers", n, len(users))
	}
	owners, callers := map[string]string{}, map[string]int{}
	for _, r := range s.judge.Requests()[before:] {
		id := r.Header.Get("Mcp-Session-Id")
		if first, known := owners[id]; known && first != r.SessionName && id != "" {
			t.Errorf("session %s is used by %s and %s", id, first, r.SessionName)
		}
		owners[id] = r.SessionName
		if strings.Contains(string(r.Body), `"burst"`) {
			callers[r.SessionName]++
		}
	}
	delete(owners, "")
	if d := cmp.Diff(map[string]int{"ann": 22, "bob": 21, "eve": 21}, callers); d != "" {
		t.Errorf("who called (-want +got)\n%s", d)
	}
	slices.Sort(saw.IDs)
	if distinct := len(slices.Compact(saw.IDs)); generation != "modern" && (distinct != 64 || len(owners) != 64) {
		t.Errorf("%d sessions at the client, %d at the backend, want 64", distinct, len(owners))
	}
}

// roles are those that the judge saw.
func (s *stand) roles(since int) (all []string) {
	for _, r := range s.judge.Requests()[since:] {
		if !slices.Contains(all, r.RoleARN) {
			all = append(all, r.RoleARN)
		}
	}
	return all
}

// arrived expects that all came under ann's role.
func (s *stand) arrived(t *testing.T, since int) {
	t.Helper()
	if d := cmp.Diff([]string{fake.S3Role}, s.roles(since)); d != "" {
		t.Errorf("the roles that the judge saw (-want +got)\n%s", d)
	}
}
