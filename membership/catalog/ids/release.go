package ids

import (
	"fmt"
	"strconv"
	"strings"

	"portico/conf/sites"
)

// FilesOf returns the digest of the files of the release with this id. Releases of the same
// files with other settings of the process have a number behind it.
func FilesOf(release string) string {
	files, _, _ := strings.Cut(release, "-")
	return files
}

// ShortRelease is how people see a release: the first twelve characters of its files' digest,
// and its number.
func ShortRelease(release string) string {
	files, number, numbered := strings.Cut(release, "-")
	files = files[:min(12, len(files))]
	if numbered {
		return files + "-" + number
	}
	return files
}

// NamesRelease reports whether text, the beginning of a digest with or without a number, names
// the release.
func NamesRelease(text, release string) bool {
	files, number, numbered := strings.Cut(text, "-")
	of, has, _ := strings.Cut(release, "-")
	return strings.HasPrefix(of, files) && (!numbered || number == has)
}

// ValidRelease checks the id of a release.
func ValidRelease(id string) error {
	files, number, numbered := strings.Cut(id, "-")
	if err := ValidDigest(files); err != nil {
		return err
	}
	if n, err := strconv.Atoi(number); numbered && (err != nil || n < 1 || strconv.Itoa(n) != number) {
		return fmt.Errorf("%w: release %.80q: what follows the digest is not a number", sites.ErrInvalid, id)
	}
	return nil
}
