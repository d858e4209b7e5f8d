package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// filesOf a folder: one hundred a folder of its own.
const perFolder = 100

func fileName(dir string, i int) string {
	return filepath.Join(dir, fmt.Sprintf("d%03d", i/perFolder), fmt.Sprintf("f%05d.dat", i))
}

// writeSite makes a site of as many files as asked for, half of whose bytes do not compress. Their sizes go
// from half of the mean to half as much again.
func (b *bench) writeSite(dir string) error {
	mean := b.bytes / b.files
	draw := rand.NewChaCha8([32]byte{1})
	sizes := rand.New(rand.NewPCG(1, 2))
	for i := range b.files {
		if i%perFolder == 0 {
			if err := os.MkdirAll(filepath.Dir(fileName(dir, i)), 0o755); err != nil {
				return err
			}
		}
		if err := os.WriteFile(fileName(dir, i), content(draw, mean/2+sizes.IntN(max(mean, 1)), i), 0o644); err != nil { //nolint:gosec // a web site's files
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "index.html"), []byte("many files\n"), 0o644) //nolint:gosec // as above
}

func content(draw *rand.ChaCha8, size, number int) []byte {
	b := make([]byte, size)
	_, _ = draw.Read(b[:size/2])
	words := fmt.Appendf(nil, "file %d of the site, in words that repeat themselves. ", number)
	copy(b[size/2:], bytes.Repeat(words, size/len(words)+1))
	return b
}

// changeTen gives ten files over the whole site other bytes, of 1.7 KiB each.
func (b *bench) changeTen(dir string) (size int64, err error) {
	draw := rand.NewChaCha8([32]byte{2})
	for i := range 10 {
		c := content(draw, 1740, i)
		size += int64(len(c))
		if err := os.WriteFile(fileName(dir, i*b.files/10), c, 0o644); err != nil { //nolint:gosec // a web site's files
			return 0, err
		}
	}
	return size, nil
}
