//go:build !linux

package cgroup

import (
	"context"
	"os"
)

// Tree is never opened here.
type Tree struct{}

// Open fails with ErrUnsupported here.
func Open(string) (*Tree, error) { return nil, ErrUnsupported }

// Missing is never called here.
func (*Tree) Missing() []string { return nil }

// Make is never called here.
func (*Tree) Make(string, Limits) (Group, error) { return Group{}, ErrUnsupported }

// Remove is never called here.
func (*Tree) Remove() error { return nil }

// Groups is never called here.
func (*Tree) Groups() ([]string, error) { return nil, nil }

// Group is never made here.
func (*Tree) Group(string) Group { return Group{} }

// Group is a group that does not exist.
type Group struct{}

// Open is never called here.
func (Group) Open() (*os.File, error) { return nil, ErrUnsupported }

// End is never called here.
func (Group) End(context.Context) error { return nil }

// OverLimit is never called here.
func (Group) OverLimit() string { return "" }
