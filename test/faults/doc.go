// Package faults holds rolegate to its promises on bad days: the identity provider, STS and the remote are killed, hang,
// are slow, throttle and talk nonsense at each moment of a request's life, answers break off, the disk is full, clocks
// disagree, and signals arrive under load.
//
// Its tests promise that what they stage is real: connections are refused and reset by the kernel, the remote verifies
// every signature, and where the behaviour of a process matters the built binary runs. Each case asserts what the
// client gets, to the header, and by when; after all of them nothing may be left, neither goroutines nor descriptors.
// They must never need a network, nor listen beyond loopback, nor change the machine's clock.
package faults
