package store

import (
	"errors"
	"slices"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrLocked reports that another process has the catalog's directory open.
	ErrLocked = errors.New("catalog is in use by another process")
	// ErrCorrupt reports that the catalog's files are damaged.
	ErrCorrupt = errors.New("catalog is damaged")
	// ErrBroken reports that the store met a fault, such as a failed fsync,
	// after which it acknowledges nothing until the process starts again; with ErrPassing,
	// until it has opened again by itself.
	ErrBroken = errors.New("catalog store has stopped")
	// ErrPassing reports that the fault is a want that passes.
	ErrPassing = errors.New("changes are refused until there are descriptors, memory and room on the disk again, then it opens by itself")
	// ErrStuck reports a start or an end of the server that does not come to its own end: it may have
	// the files open for as long as this process lives.
	ErrStuck = errors.New("this process has the files open until it ends: restart portico")
	// ErrNoMajority reports that too few of the proxies that share the catalog reach
	// one another for a change to be made.
	ErrNoMajority = errors.New("too few of the proxies that share the catalog reach one another: changes wait until more are there, traffic goes on (portico members names them)")
	// ErrNoAnswer reports that the store did not answer in time.
	ErrNoAnswer = errors.New("the catalog did not answer in time: its disk, or the network between the proxies that share it, is slow")
	// ErrLeaderChanged reports a change that went to a leader which died.
	ErrLeaderChanged = errors.New("the proxy that led the catalog went away meanwhile")
	// ErrUncertain reports a change of which it is not known whether it was stored: it
	// was sent, and no answer came. With every other error it was not.
	ErrUncertain = errors.New("the change may have been stored or not")
	// ErrRemoved reports that the other proxies took this one out of the catalog:
	// it was revoked, or another machine joined in its place.
	ErrRemoved = errors.New("this proxy was removed from the catalog")
	// ErrClosed reports use after Close.
	ErrClosed = errors.New("catalog is closed")
	// ErrAlone reports a request that needs Options.Peers.
	ErrAlone = errors.New("this proxy shares its catalog with nobody")
	// ErrOutside reports that all proxies use an outside etcd.
	ErrOutside = errors.New("the catalog lies in an outside etcd")
)

// noAnswers are etcd's words for having had no answer from its members, or from its disk.
var noAnswers = []error{
	rpctypes.ErrTimeout, rpctypes.ErrTimeoutDueToLeaderFail, rpctypes.ErrTimeoutDueToConnectionLost, rpctypes.ErrTimeoutWaitAppliedIndex,
	rpctypes.ErrLeaderChanged, rpctypes.ErrNoLeader, rpctypes.ErrStopped,
}

// unanswered reports whether err is one of them.
func unanswered(err error) bool {
	return slices.ContainsFunc(noAnswers, func(known error) bool { return errors.Is(err, known) })
}

// plain says in this package's words what etcd's errors mean to people.
func plain(err error) error {
	if unanswered(err) {
		return ErrNoAnswer
	}
	return err
}

// refused reports whether etcd has refused a change for what it is: then it was not stored.
func refused(err error) bool {
	var e rpctypes.EtcdError
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code() {
	case codes.InvalidArgument, codes.ResourceExhausted, codes.FailedPrecondition, codes.OutOfRange, codes.PermissionDenied, codes.Unauthenticated:
		return true
	}
	return false
}
