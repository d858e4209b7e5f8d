package conf_test

import _ "embed"

// example is the annotated sample file: every setting with its default, and
// the lists of tables as comments that begin with "#| ".
//
//go:embed example.toml
var example []byte
