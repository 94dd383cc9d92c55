package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// find is a document of the files, nil where there is none.
func (l *loader) find(kind, namespace, name string) *document {
	return l.seen[kind+"/"+namespace+"/"+name]
}

// sources looks in the files and in the folder of references.
func (l *loader) sources(namespace string) Sources {
	return Sources{
		ExternalAuth:    finder[ExternalAuth](l, KindAuth, namespace),
		OIDCConfig:      finder[OIDCConfig](l, KindOIDC, namespace),
		AuthzConfig:     finder[AuthzConfig](l, KindAuthz, namespace),
		ToolConfig:      finder[ToolConfig](l, KindTools, namespace),
		TelemetryConfig: finder[TelemetryConfig](l, KindTelemetry, namespace),
		Secret:          func(name, key string) ([]byte, error) { return l.value("secrets", name, key) },
		ConfigMap:       func(name, key string) ([]byte, error) { return l.value("configmaps", name, key) },
	}
}

// finder finds the specs of one kind.
func finder[S any](l *loader, kind, namespace string) func(name string) (*S, error) {
	return func(name string) (*S, error) {
		d, err := l.refer(kind, namespace, name)
		if err != nil {
			return nil, err
		}
		return any(d.spec).(*S), nil
	}
}

// refer finds a document, or says where one of that name is.
func (l *loader) refer(kind, namespace, name string) (*document, error) {
	if d := l.find(kind, namespace, name); d != nil {
		return d, nil
	}
	for _, d := range l.docs {
		if d.kind == kind && d.name == name {
			return nil, fmt.Errorf("%s %s is in namespace %s (%s:%d), the proxy in %s", kind, name, bare(d.namespace), d.file, d.line, bare(namespace))
		}
	}
	return nil, fmt.Errorf("the files hold no %s %s", kind, name)
}

// value reads one value of a Secret or ConfigMap. Names and keys were validated before.
func (l *loader) value(dir, name, key string) ([]byte, error) {
	if l.options.Refs == "" {
		return nil, fmt.Errorf("refers to %s/%s/%s, but no folder of references was given (--refs)", dir, name, key)
	}
	at := path.Join(dir, name, key)
	tried := filepath.Join(l.options.Refs, filepath.FromSlash(at))
	root, err := os.OpenRoot(l.options.Refs) // symlinks may lead around within it, as in a Kubernetes volume, never out
	if err != nil {
		return nil, fmt.Errorf("open %s: %s", l.options.Refs, reason(err))
	}
	data, err := readRegular(root.FS(), at)
	if err = errors.Join(err, root.Close()); err != nil {
		return nil, fmt.Errorf("read %s: %s", tried, reason(err))
	}
	if len(data) == 0 {
		return nil, fmt.Errorf("%s is empty", tried)
	}
	return data, nil
}

// readRegular reads a file of at most 1 MiB. What isn't a regular file could block or never end.
func readRegular(fsys fs.FS, name string) ([]byte, error) {
	if info, err := fs.Stat(fsys, name); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	return readBounded(f)
}

// readBounded reads at most 1 MiB, and closes.
func readBounded(f io.ReadCloser) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, errors.New("larger than 1 MiB")
	}
	return data, nil
}

// reason is an error without the path that its place names already.
func reason(err error) string {
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	return strings.TrimSpace(err.Error())
}
