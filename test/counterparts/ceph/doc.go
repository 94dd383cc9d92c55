// Package ceph tries rolegate with an STS, an IAM and an S3 that other people wrote: Ceph's RADOS Gateway, set up with
// the commands and the documents of docs/tutorial.md.
//
// It promises that steps 1 and 2 of the tutorial and its clean-up are typed as they are written, that the few words
// which Ceph wants besides are named in one place, and that the real rolegate gets its credentials there. It must never
// hold the words of the tutorial itself, so that the two can't differ, nor keep a token.
package ceph
