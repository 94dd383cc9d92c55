package ceph_test

import (
	"testing"

	"github.com/rolegate/rolegate/test/counterparts/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }
