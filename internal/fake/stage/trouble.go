package stage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// Kind says how a fake misbehaves.
type Kind string

// The kinds of trouble. The names are what the admin endpoint takes.
const (
	Error    Kind = "error"    // answer with Status and Code in the service's own error form
	Slow     Kind = "slow"     // only wait for Delay, then answer as ever
	Hang     Kind = "hang"     // say nothing until the client hangs up, or the trouble is cleared and the answer follows
	Garbage  Kind = "garbage"  // 200 and a body that is not what was asked for
	Reset    Kind = "reset"    // close the connection without an answer
	Cut      Kind = "cut"      // begin the answer, then close the connection after the After-th write (the AWS fake only)
	Redirect Kind = "redirect" // 307 (or Status) to Location
)

// Trouble is one way to misbehave. The zero Kind is Error where Code or Status is set, and Slow otherwise.
type Trouble struct {
	Kind       Kind
	Code       string        // the service's error code, such as "Throttling"
	Message    string        // text of the error, or the body of Garbage
	Status     int           // HTTP status; 0 means what belongs to the code
	Delay      time.Duration // waited before anything else
	Times      int           // for how many requests; 0 means until cleared
	Location   string        // where Redirect points to
	RetryAfter string        // value of Retry-After with Error; "" for none
	After      int           // writes that get through before Cut; 0 means 1
}

// kind is the kind with the zero value resolved.
func (t Trouble) kind() Kind {
	switch {
	case t.Kind != "":
		return t.Kind
	case t.Code != "" || t.Status != 0:
		return Error
	default:
		return Slow
	}
}

// UnmarshalJSON reads the admin endpoint's form: {"kind":"error","code":"Throttling","status":400,"delay":"2s","times":3}.
// Unknown members and unknown kinds are errors.
func (t *Trouble) UnmarshalJSON(b []byte) error {
	var in struct {
		Kind       Kind   `json:"kind"`
		Code       string `json:"code"`
		Message    string `json:"message"`
		Status     int    `json:"status"`
		Delay      string `json:"delay"`
		Times      int    `json:"times"`
		Location   string `json:"location"`
		RetryAfter string `json:"retryAfter"`
		After      int    `json:"after"`
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return fmt.Errorf("read trouble: %w", err)
	}
	var delay time.Duration
	if in.Delay != "" {
		var err error
		if delay, err = time.ParseDuration(in.Delay); err != nil {
			return fmt.Errorf("read delay: %w", err)
		}
	}
	switch in.Kind {
	case "", Error, Slow, Hang, Garbage, Reset, Cut, Redirect:
	default:
		return fmt.Errorf("read trouble: unknown kind %q", in.Kind)
	}
	*t = Trouble{
		Kind: in.Kind, Code: in.Code, Message: in.Message, Status: in.Status, Delay: delay, Times: in.Times,
		Location: in.Location, RetryAfter: in.RetryAfter, After: in.After,
	}
	return nil
}

// Play acts the trouble out on one request: it waits, and then answers, unless the kind lets the request through.
// It reports whether the request is dealt with. refuse writes an Error in the service's own form; healed ends a Hang.
// A Reset panics with http.ErrAbortHandler, which net/http takes for "close the connection".
func (t Trouble) Play(w http.ResponseWriter, r *http.Request, healed <-chan struct{}, refuse func(Trouble)) bool {
	if t.Delay > 0 {
		timer := time.NewTimer(t.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return true
		}
	}
	switch t.kind() {
	case Error:
		if t.RetryAfter != "" {
			w.Header().Set("Retry-After", t.RetryAfter)
		}
		refuse(t)
	case Hang:
		select {
		case <-r.Context().Done():
		case <-healed:
			return false
		}
	case Garbage:
		body := t.Message
		if body == "" {
			body = "<!doctype html><title>It works!</title>"
		}
		_, _ = w.Write([]byte(body)) // a client that is gone misses nothing
	case Reset:
		panic(http.ErrAbortHandler)
	case Redirect:
		status := t.Status
		if status == 0 {
			status = http.StatusTemporaryRedirect
		}
		w.Header().Set("Location", t.Location)
		w.WriteHeader(status)
	default: // Slow has waited; Cut is for whoever writes the answer
		return false
	}
	return true
}

// Troubles is a queue of troubles: the first one meets requests until its Times are used up, then the next.
// The zero value is ready.
type Troubles struct {
	mu     sync.Mutex
	queue  []Trouble
	healed chan struct{}
}

// Add queues a trouble.
func (q *Troubles) Add(t Trouble) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.queue = append(q.queue, t)
}

// Clear removes all troubles and lets hanging requests go on.
func (q *Troubles) Clear() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.queue = nil
	if q.healed != nil {
		close(q.healed)
		q.healed = nil
	}
}

// Take gives the trouble that meets this request, a zero one where there is none, and a channel that Clear closes.
func (q *Troubles) Take() (Trouble, <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.healed == nil {
		q.healed = make(chan struct{})
	}
	if len(q.queue) == 0 {
		return Trouble{}, q.healed
	}
	t := q.queue[0]
	if t.Times > 0 {
		if q.queue[0].Times--; q.queue[0].Times == 0 {
			q.queue = q.queue[1:]
		}
	}
	return t, q.healed
}

// IsZero reports whether there is no trouble at all.
func (t Trouble) IsZero() bool { return t == Trouble{} }
