package preflight

import (
	"io/fs"
	"os"
)

// mayWrite returns why this process cannot make files in a folder; nil: it can.
func mayWrite(dir string) error {
	f, err := os.CreateTemp(dir, ".portico-*")
	if err != nil {
		return err
	}
	_ = f.Close()
	return os.Remove(f.Name())
}

// ownerOf is "": the mode does not tell whose a file is.
func ownerOf(fs.FileInfo) string { return "" }
