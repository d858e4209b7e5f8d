package account

import (
	"encoding/binary"
	"strings"
)

// ServerName names an instance for people: its member and the beginning of its id. One of the configuration file has the name that it has
// there, see site.UpstreamID.
func ServerName(member, instance string) string {
	if member == "" {
		return instance[strings.IndexByte(instance, '/')+1:]
	}
	return member + "-" + instance[:min(6, len(instance))]
}

// AppendID appends an exchange's number as people see it: 16 hexadecimal digits.
func AppendID(b []byte, id uint64) []byte {
	b = binary.BigEndian.AppendUint64(b, hexDigits(uint32(id>>32)))
	return binary.BigEndian.AppendUint64(b, hexDigits(uint32(id)))
}

// hexDigits makes eight digits, a byte each, of eight halves of bytes.
func hexDigits(n uint32) uint64 {
	const ones = 0x0101010101010101
	w := uint64(n)
	w = (w<<16 | w) & 0x0000ffff0000ffff
	w = (w<<8 | w) & 0x00ff00ff00ff00ff
	w = (w<<4 | w) & 0x0f0f0f0f0f0f0f0f
	letters := (w + ones*6) >> 4 & ones // one where a digit is a letter
	return w + ones*'0' + letters*('a'-'0'-10)
}
