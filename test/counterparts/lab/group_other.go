//go:build !unix

package lab

import "os/exec"

// There are no groups and no SIGTERM here: a process is ended at once.

func group(*exec.Cmd) {}

func terminate(cmd *exec.Cmd) error { return cmd.Process.Kill() }

func kill(cmd *exec.Cmd) error { return cmd.Process.Kill() }
