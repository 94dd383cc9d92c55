package ceph_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rolegate/rolegate/test/counterparts/lab"
)

// packages are what a monitor, an object store and a RADOS Gateway need beyond what Debian's base has.
var packages = []string{
	"ceph-base", "ceph-common", "ceph-mon", "ceph-osd", "radosgw",
	"python3-ceph-argparse", "python3-ceph-common", "python3-prettytable", "python3-rados", "python3-wcwidth",
	"libaio1", "libboost-context1.74.0", "libboost-thread1.74.0", "libdaxctl1", "libfmt9", "libfuse2", "libgoogle-perftools4",
	"libibverbs1", "libleveldb1d", "liblua5.3-0", "libndctl6", "libnl-3-200", "libnl-route-3-200", "liboath0", "libpmem1",
	"librabbitmq4", "librados2", "libradosstriper1", "librbd1", "librdmacm1", "libsnappy1v5", "libtcmalloc-minimal4",
}

// The account of the tutorial is a tenant of Ceph's, and who types its commands is a user there.
const (
	account = "123456789012"
	keyID   = "ADMINACCESSKEY"
	secret  = "adminsecretkey"
)

// cluster is a Ceph of one monitor, one object store in memory and one gateway, on loopback.
type cluster struct {
	t       *testing.T
	dir     string   // of configuration, keyring and data
	bin     string   // of the programs
	env     []string // with the libraries
	gateway *lab.Process
	url     string // of the gateway: S3, STS and IAM
}

// newCluster starts a cluster and makes the user who types. It takes some 10 s.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	needPython(t)
	root := lab.Debs(t, packages...)
	lib := filepath.Join(root, "usr/lib/x86_64-linux-gnu")
	c := &cluster{t: t, dir: t.TempDir(), bin: filepath.Join(root, "usr/bin")}
	c.env = lab.Environment("LD_LIBRARY_PATH="+strings.Join([]string{lib, filepath.Join(lib, "ceph"), filepath.Join(root, "lib/x86_64-linux-gnu")}, ":"),
		"PYTHONPATH="+filepath.Join(root, "usr/lib/python3/dist-packages"), "CEPH_CONF="+filepath.Join(c.dir, "ceph.conf"))
	monitor, gateway := lab.Port(t), lab.Port(t)
	c.url = fmt.Sprintf("http://127.0.0.1:%d", gateway)
	lab.Write(t, c.dir, "ceph.conf", configuration(c.dir, lib, monitor, gateway))
	for _, d := range []string{"mon", "osd", "rgw", "run"} {
		if err := os.Mkdir(filepath.Join(c.dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	keyring := filepath.Join(c.dir, "keyring")
	c.run("ceph-authtool", "--create-keyring", keyring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
	for _, name := range []string{"client.admin", "osd.0", "client.rgw.a"} {
		c.run("ceph-authtool", keyring, "--gen-key", "-n", name, "--cap", "mon", "allow *", "--cap", "osd", "allow *", "--cap", "mgr", "allow *")
	}
	address := fmt.Sprintf("[v2:127.0.0.1:%d]", monitor)
	c.run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", address, filepath.Join(c.dir, "monmap"))
	c.run("ceph-mon", "--mkfs", "-i", "a", "--monmap", filepath.Join(c.dir, "monmap"), "--keyring", keyring)
	c.daemon(nil, "ceph-mon", "-i", "a", "-f")
	c.run(python, filepath.Join(c.bin, "ceph"), "osd", "new", store)
	c.run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", store)
	c.daemon(nil, "ceph-osd", "-i", "0", "-f")
	c.gateway = c.daemon(lab.Answers(c.url), "radosgw", "-n", "client.rgw.a", "-f")
	c.run("radosgw-admin", "-n", "client.rgw.a", "user", "create", "--tenant", account, "--uid", "admin", "--display-name", "admin",
		"--access-key", keyID, "--secret-key", secret, "--caps", "roles=*;oidc-provider=*")
	return c
}

// Names of the cluster and of its store. Nothing outside of the test's folder knows them.
const (
	fsid  = "6d0b6f3c-54c8-4a53-9d27-0f2b4e1f6a01"
	store = "6d0b6f3c-54c8-4a53-9d27-0f2b4e1f6a02"
)

func configuration(dir, lib string, monitor, gateway int) string {
	return strings.NewReplacer("DIR", dir, "LIB", lib, "MONITOR", strconv.Itoa(monitor), "GATEWAY", strconv.Itoa(gateway), "FSID", fsid).Replace(`
[global]
fsid = FSID
mon host = [v2:127.0.0.1:MONITOR]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth allow insecure global id reclaim = false
keyring = DIR/keyring
run dir = DIR/run
admin socket =
log to stderr = true
log to file = false
mon cluster log to file = false
debug rocksdb = 0
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
mon allow pool size one = true
mon max pg per osd = 2000
mon data avail crit = 1
mon data avail warn = 2
osd crush chooseleaf type = 0
plugin dir = LIB
erasure code dir = LIB/ceph/erasure-code
osd class dir = LIB/rados-classes
osd objectstore = memstore
memstore device bytes = 1073741824
osd memory target = 939524096
[mon.a]
mon data = DIR/mon
[osd.0]
osd data = DIR/osd
[client.rgw.a]
rgw data = DIR/rgw
rgw frontends = beast endpoint=127.0.0.1:GATEWAY
rgw sts key = abcdefghijklmnop
rgw s3 auth use sts = true
`)
}

func (c *cluster) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(c.bin, name)
}

// run runs one of Ceph's programs to its end.
func (c *cluster) run(name string, args ...string) {
	c.t.Helper()
	if out, err := lab.Output(c.t, c.dir, time.Minute, c.env, c.path(name), args...); err != nil {
		c.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// daemon starts one of Ceph's servers.
func (c *cluster) daemon(ready func() bool, name string, args ...string) *lab.Process {
	c.t.Helper()
	return lab.Start(c.t, lab.Command{Name: c.path(name), Args: args, Env: c.env, Dir: c.dir, Ready: ready})
}
