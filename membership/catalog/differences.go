package catalog

import (
	"iter"
	"reflect"
)

// SameMap reports whether a and b are one map: a view shares with the one before it what has not changed.
func SameMap[T any](a, b map[string]T) bool {
	return reflect.ValueOf(a).Pointer() == reflect.ValueOf(b).Pointer()
}

// Differences lists the entries of two maps that are not the same, as they were and as they are; nil: not there.
func Differences[T any](last, now map[string]*T) iter.Seq2[*T, *T] {
	return func(yield func(was, is *T) bool) {
		if SameMap(last, now) {
			return
		}
		for key, is := range now {
			if was := last[key]; was != is && !yield(was, is) {
				return
			}
		}
		for key, was := range last {
			if _, there := now[key]; !there && !yield(was, nil) {
				return
			}
		}
	}
}
