package conf_test

import (
	"fmt"
	"strings"
	"testing"

	"portico/conf"
)

// BenchmarkLoad reads a file of so many sites of 4 upstreams each.
func BenchmarkLoad(b *testing.B) {
	for _, n := range []int{100, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var file strings.Builder
			for i := range n {
				fmt.Fprintf(&file, "[[site]]\nname = \"site%d\"\nhosts = [\"site%d.test\"]\n", i, i)
				for k := range 4 {
					fmt.Fprintf(&file, "[[site.upstream]]\nname = \"u%d\"\naddr = \"127.0.0.1:%d\"\n", k, 8000+k)
				}
			}
			text := []byte(file.String())
			b.ReportAllocs()
			for b.Loop() {
				if _, err := conf.Load(text, "portico.toml", nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
