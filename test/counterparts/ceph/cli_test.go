package ceph_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rolegate/rolegate/test/counterparts/lab"
)

// awscli is the AWS CLI of Debian, with what of Python it needs.
var awscli = []string{
	"awscli", "docutils-common", "python3-awscrt", "python3-cffi-backend", "python3-colorama", "python3-cryptography", "python3-dateutil",
	"python3-distro", "python3-docutils", "python3-jmespath", "python3-prompt-toolkit", "python3-pyasn1", "python3-roman", "python3-ruamel.yaml",
	"python3-ruamel.yaml.clib", "python3-six", "python3-urllib3", "python3-wcwidth",
}

// python is the one that Debian's packages are for.
const python = "/usr/bin/python3"

func needPython(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(python); err != nil {
		t.Skip("Debian's python3 is not installed")
	}
}

// cli is how a shell calls the AWS CLI: this machine's, or Debian's where there is none.
func cli(t *testing.T) string {
	t.Helper()
	if path, err := exec.LookPath("aws"); err == nil {
		return path
	}
	needPython(t)
	root := lab.Debs(t, awscli...)
	return "env PYTHONPATH=" + filepath.Join(root, "usr/lib/python3/dist-packages") + " " + python + " " + filepath.Join(root, "usr/bin/aws")
}
