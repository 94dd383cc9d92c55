// Package profile writes down where a program's processor time went.
//
// It promises that the profile is whole when what was profiled has returned. It must never cost anything where no
// profile is wanted.
package profile

import (
	"errors"
	"os"
	"runtime/pprof"
)

// CPU runs something and writes a profile of its processor time to a file; "" for none.
func CPU(file string, run func() error) error {
	if file == "" {
		return run()
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(out); err != nil {
		return errors.Join(err, out.Close())
	}
	err = run()
	pprof.StopCPUProfile()
	return errors.Join(err, out.Close())
}
