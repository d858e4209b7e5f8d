package logs

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"strings"

	"portico/deployhook/agent/beneath"
)

// readLog opens the log of one instance for reading.
func readLog(dir, instance string) (*os.File, error) {
	logs, err := beneath.Open(dir)
	if err != nil {
		return nil, err
	}
	f, _, err := logs.File(instance + logSuffix)
	_ = logs.Close()
	return f, err
}

const (
	tailBytes = 256 << 10 // read at most from the end of a log
	lineBytes = 4 << 10   // of a line in a report
)

// Tail returns the last n lines of what the log of an instance holds from an offset on.
func Tail(dir, instance string, from int64, n int) ([]string, error) {
	f, err := readLog(dir, instance)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return tailFrom(f, from, n)
}

// tailFrom returns the last n lines of what a log holds from an offset on.
func tailFrom(f *os.File, from int64, n int) ([]string, error) {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	start := max(from, end-tailBytes)
	if start > end {
		start = 0 // cut in between
	}
	b := make([]byte, end-start)
	k, err := f.ReadAt(b, start)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return lastLines(b[:k], n), nil
}

// lastLines returns the last n lines of b, cut to a length and made printable.
func lastLines(b []byte, n int) []string {
	lines := []string{}
	sc := bufio.NewScanner(bytes.NewReader(b))
	sc.Buffer(nil, tailBytes+1)
	for sc.Scan() {
		line := sc.Bytes()
		lines = append(lines, cleanLine(line[:min(len(line), lineBytes)]))
	}
	return lines[max(0, len(lines)-n):]
}

// cleanLine takes out of a line what would move a terminal's cursor.
func cleanLine(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return -1
		}
		return r
	}, strings.ToValidUTF8(string(b), "\uFFFD"))
}
