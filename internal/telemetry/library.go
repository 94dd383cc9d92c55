package telemetry

import (
	"log/slog"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
)

// library passes on what OpenTelemetry's own libraries complain about. They have one logger and one handler of errors
// for the whole process, which would write to standard error past the log. Their values are left out: some are settings
// that hold secrets.
type library struct{ log *slog.Logger }

// listen has the libraries complain in a log.
func listen(log *slog.Logger) {
	l := library{log}
	otel.SetLogger(logr.New(l))
	otel.SetErrorHandler(l)
}

// warning is the level of the libraries' warnings; what is above it is not for operators.
const warning = 1

// Init has nothing to do.
func (library) Init(logr.RuntimeInfo) {}

// Enabled says which levels are passed on.
func (library) Enabled(level int) bool { return level <= warning }

// Info passes on a warning.
func (l library) Info(_ int, msg string, _ ...any) { l.log.Warn("OpenTelemetry: " + msg) }

// Error passes on an error.
func (l library) Error(err error, msg string, _ ...any) {
	l.log.Warn("OpenTelemetry: "+msg, slog.Any(KeyError, err))
}

// Handle passes on an error of what runs in the background.
func (l library) Handle(err error) { l.log.Warn("OpenTelemetry", slog.Any(KeyError, err)) }

// WithValues leaves the values out.
func (l library) WithValues(...any) logr.LogSink { return l }

// WithName leaves the name out.
func (l library) WithName(string) logr.LogSink { return l }
