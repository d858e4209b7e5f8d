package catalog

import (
	"errors"
	"slices"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
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
