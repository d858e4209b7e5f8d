package http1

// Limits bounds what one peer may make us hold or read. The zero value of a field means its default.
type Limits struct {
	Line         int // request line in bytes, 8 KiB: 414 beyond
	Head         int // request head in bytes with its line, 16 KiB: 431 beyond
	Fields       int // header fields of a request or trailers of a body, 100: 431 beyond
	ResponseHead int // response head in bytes, 64 KiB: 502 beyond
	ResponseFlds int // header fields of a response, 200: 502 beyond
	ChunkExtra   int // chunk extensions and size lines of one body beyond what its data justifies, 4 KiB: 400 beyond
	Trailers     int // trailer section in bytes, 8 KiB: 400 beyond
	Interim      int // 1xx answers before the final one, 16: 502 beyond
}

// Default values of Limits.
const (
	DefaultLine         = 8 << 10
	DefaultHead         = 16 << 10
	DefaultFields       = 100
	DefaultResponseHead = 64 << 10
	DefaultResponseFlds = 200
	DefaultChunkExtra   = 4 << 10
	DefaultTrailers     = 8 << 10
	DefaultInterim      = 16
)

// WithDefaults returns l with every zero field set to its default.
func (l Limits) WithDefaults() Limits {
	for _, f := range []struct {
		field *int
		value int
	}{
		{&l.Line, DefaultLine},
		{&l.Head, DefaultHead},
		{&l.Fields, DefaultFields},
		{&l.ResponseHead, DefaultResponseHead},
		{&l.ResponseFlds, DefaultResponseFlds},
		{&l.ChunkExtra, DefaultChunkExtra},
		{&l.Trailers, DefaultTrailers},
		{&l.Interim, DefaultInterim},
	} {
		if *f.field <= 0 {
			*f.field = f.value
		}
	}
	return l
}
