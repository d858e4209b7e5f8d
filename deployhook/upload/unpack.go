package upload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"portico/conf/sites"
	"portico/deployhook/archive"
	"portico/deployhook/objects"
	"portico/internal/refusal"
)

const (
	// manifestName is the file that says what a site is.
	manifestName = "portico.toml"
	// maxManifest bounds it.
	maxManifest = 256 << 10
)

// Unpacked is what an upload holds: its files as objects of an uncommitted
// batch, and what its manifest says.
type Unpacked struct {
	Batch    *objects.Batch
	files    []objects.File
	Manifest sites.Settings
	place    string   // of the manifest in the archive, "" where there is none
	source   []byte   // its text
	Notes    []string // what was done to the archive, for people
}

// Unpack checks the archive whole and puts its files into a batch. Nothing can
// be seen before the batch is committed.
func Unpack(ctx context.Context, s *Spooled, store *objects.Store, limits archive.Limits, q *Request) (_ *Unpacked, err error) {
	u := &Unpacked{Batch: store.NewBatch()}
	defer func() {
		if err != nil {
			u.Batch.Close()
		}
	}()
	manifests := map[string][]byte{}
	info, err := archive.Read(ctx, s.file, s.size, limits, func(f archive.File, content io.Reader) error {
		if path.Base(f.Path) == manifestName {
			b, err := io.ReadAll(io.LimitReader(content, maxManifest+1))
			if err != nil {
				return err
			}
			manifests[f.Path] = b
			content = io.MultiReader(bytes.NewReader(b), content)
		}
		digest, size, err := u.Batch.Add(content)
		if err != nil {
			return err
		}
		u.files = append(u.files, objects.File{Path: f.Path, Exec: f.Exec, Size: size, Digest: digest})
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := u.shape(s, info, manifests, q); err != nil {
		return nil, err
	}
	return u, nil
}

// shape turns the archive's files into the release's.
//
// A WAR stays the one file that it is: Tomcat takes it so. A single folder at
// the top is kept, since nobody can tell a site's only folder from wrapping,
// unless the manifest lies in it, which only wrapping explains.
func (u *Unpacked) shape(s *Spooled, info archive.Info, manifests map[string][]byte, q *Request) error {
	places := []string{manifestName}
	switch {
	case info.War:
		places = []string{"WEB-INF/" + manifestName, "META-INF/" + manifestName, manifestName}
		if err := u.keepWar(s, q); err != nil {
			return err
		}
	case info.Top != "" && manifests[info.Top+"/"+manifestName] != nil:
		places = []string{info.Top + "/" + manifestName}
		for i := range u.files {
			u.files[i].Path = strings.TrimPrefix(u.files[i].Path, info.Top+"/")
		}
		u.Notes = append(u.Notes, fmt.Sprintf("the folder %q around everything was taken off", info.Top))
	}
	for _, place := range places {
		if b := manifests[place]; b != nil {
			return u.readManifest(place, b)
		}
	}
	return nil
}

// keepWar makes the upload itself the only file of the release.
func (u *Unpacked) keepWar(s *Spooled, q *Request) error {
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	digest, size, err := u.Batch.Add(s.file)
	if err != nil {
		return err
	}
	u.files = []objects.File{{Path: q.Site + ".war", Size: size, Digest: digest}}
	u.Manifest.Kind = sites.KindTomcat
	return nil
}

func (u *Unpacked) readManifest(place string, b []byte) error {
	if len(b) > maxManifest {
		return refusal.New(422, "bad_manifest", "", "%s has more than %d bytes", place, maxManifest)
	}
	kind := u.Manifest.Kind
	u.place, u.source = place, b
	if err := DecodeManifest(place, b, &u.Manifest); err != nil {
		return err
	}
	if kind != "" && u.Manifest.Kind != kind {
		u.Notes = append(u.Notes, fmt.Sprintf("%s says kind = %q of a WAR", manifestName, u.Manifest.Kind))
	}
	return nil
}

// drop takes out what exclude and data name: neither is part of a release,
// whatever the client packed.
func (u *Unpacked) drop(settings sites.Settings) sites.Mistakes {
	x, err := archive.NewExclude(slices.Concat(archive.AlwaysExcluded(), settings.Exclude))
	if err != nil {
		return sites.Mistakes{{Key: "exclude", Text: "cannot be read: " + err.Error()}}
	}
	before := len(u.files)
	u.files = slices.DeleteFunc(u.files, func(f objects.File) bool {
		if f.Path == manifestName {
			return false
		}
		return x.Match(f.Path, false) || slices.ContainsFunc(settings.Data, func(dir string) bool {
			return f.Path == dir || strings.HasPrefix(f.Path, strings.Trim(dir, "/")+"/")
		})
	})
	if n := before - len(u.files); n > 0 {
		u.Notes = append(u.Notes, fmt.Sprintf("%d files were left out (exclude, data)", n))
	}
	return nil
}

// detect derives the kind where nothing says it.
func (u *Unpacked) detect(settings *sites.Settings) {
	switch {
	case settings.Kind != "":
	case len(settings.Run) > 0:
		settings.Kind = sites.KindRun
	case settings.Hook.Port != 0 || len(settings.Hook.Install) > 0 || len(settings.Hook.Activate) > 0:
		settings.Kind = sites.KindHook
	case u.forTomcat():
		settings.Kind = sites.KindTomcat
	default:
		settings.Kind = sites.KindStatic
	}
}

// forTomcat reports whether Tomcat is meant though nothing says so: a WAR at the
// top, or WEB-INF, whose secrets a static site would serve. JSP pages alone may
// be somebody's downloads.
func (u *Unpacked) forTomcat() bool {
	return slices.ContainsFunc(u.files, func(f objects.File) bool {
		return strings.HasPrefix(f.Path, "WEB-INF/") || path.Dir(f.Path) == "." && strings.EqualFold(path.Ext(f.Path), ".war")
	})
}

// fit compares the settings with the files: what must be there for this kind.
// Every mistake is returned.
func (u *Unpacked) fit(settings sites.Settings) sites.Mistakes {
	var found sites.Mistakes
	switch settings.Kind {
	case sites.KindRun:
		found = append(found, u.command("run", settings.Run)...)
	case sites.KindTomcat:
		if _, err := objects.WebApplication(u.files); err != nil {
			found = append(found, sites.Mistake{Key: "kind", Value: `"tomcat"`, Text: "does not fit: " + err.Error()})
		}
	case sites.KindHook:
		found = append(found, u.command("hook.install", settings.Hook.Install)...)
		found = append(found, u.command("hook.activate", settings.Hook.Activate)...)
		found = append(found, u.command("hook.remove", settings.Hook.Remove)...)
	case sites.KindStatic:
		if dir := strings.Trim(settings.Public, "/"); dir != "" && dir != "." && !slices.ContainsFunc(u.files, func(f objects.File) bool { return strings.HasPrefix(f.Path, dir+"/") }) {
			found = append(found, sites.Mistake{Key: "public", Value: strconv.Quote(settings.Public), Text: "names a folder that the archive does not have"})
		}
	}
	found = append(found, u.command("deploy.before", settings.Deploy.Before)...)
	return found
}

// command checks that a command which lies in the release is there, and makes it
// executable: archives packed on Windows do not know that bit.
func (u *Unpacked) command(setting string, args []string) sites.Mistakes {
	if len(args) == 0 || !strings.Contains(args[0], "/") || strings.HasPrefix(args[0], "/") || strings.Contains(args[0], "$") {
		return nil // from the search path or the machine itself
	}
	name := path.Clean(args[0])
	for _, candidate := range []string{name, name + ".exe"} {
		for i := range u.files {
			if u.files[i].Path != candidate {
				continue
			}
			if !u.files[i].Exec {
				u.files[i].Exec = true
				u.Notes = append(u.Notes, candidate+" was made executable")
			}
			return nil
		}
	}
	return sites.Mistakes{{Key: setting, Text: fmt.Sprintf("begins with %q, which the archive does not have", args[0])}}
}

// Tree builds the release.
func (u *Unpacked) Tree(limits archive.Limits) (objects.Tree, error) {
	if len(u.files) == 0 {
		return objects.Tree{}, errors.New("nothing is left of the archive after exclude and data")
	}
	return objects.NewTree(u.files, limits)
}
