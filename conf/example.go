package conf

import _ "embed"

// Example is the annotated sample file: every setting with its default, and
// the lists of tables as comments that begin with "#| ".
//
//go:embed example.toml
var Example []byte
