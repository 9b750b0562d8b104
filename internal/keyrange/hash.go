package keyrange

import (
	"crypto/md5" //nolint:gosec // it tells sets of keys apart, and guards nothing
	"encoding/binary"
	"encoding/hex"
	"math/bits"
)

// Hash is a hash of a key's canonical texts. A difference that a hash misses is found in a
// later run only if the rows change; with 64 bits that does not happen by chance.
type Hash string

// The hashes.
const (
	// Postgres is Jenkins, but of integers and uuids it is what Postgres' functions for these types
	// return, without making texts of them. Only Postgres computes it, if both sides have the same types.
	Postgres Hash = "postgres"
	// Jenkins is what Postgres' hashtextextended returns on most machines. The hash of a column is the seed
	// of the next.
	Jenkins Hash = "jenkins"
	// MD5 are the first 64 bits of a text's MD5. Of several columns it is that of their MD5s,
	// in hexadecimal, one after another.
	MD5 Hash = "md5"
)

// Of returns the hash of a key. Go does not compute [Postgres].
func (h Hash) Of(key Key) uint64 {
	if h == MD5 {
		return md5Of(key)
	}
	var n uint64
	for _, text := range key {
		n = jenkins([]byte(text), n)
	}
	return n
}

func md5Of(key Key) uint64 {
	text := key[0]
	if len(key) > 1 {
		text = ""
		for _, part := range key {
			sum := md5.Sum([]byte(part)) //nolint:gosec // see above
			text += hex.EncodeToString(sum[:])
		}
	}
	sum := md5.Sum([]byte(text)) //nolint:gosec // see above
	return binary.BigEndian.Uint64(sum[:])
}

// jenkins is Bob Jenkins' lookup3, with a seed, as in Postgres' hash_bytes_extended.
func jenkins(k []byte, seed uint64) uint64 {
	a := 0x9e3779b9 + uint32(len(k)) + 3923095
	b, c := a, a
	if seed != 0 {
		a += uint32(seed >> 32)
		b += uint32(seed)
		a, b, c = mix(a, b, c)
	}
	for ; len(k) >= 12; k = k[12:] {
		a += binary.LittleEndian.Uint32(k)
		b += binary.LittleEndian.Uint32(k[4:])
		c += binary.LittleEndian.Uint32(k[8:])
		a, b, c = mix(a, b, c)
	}
	var rest [12]byte // the lowest byte of c is left free
	copy(rest[:], k[:min(len(k), 8)])
	if len(k) > 8 {
		copy(rest[9:], k[8:])
	}
	a += binary.LittleEndian.Uint32(rest[:])
	b += binary.LittleEndian.Uint32(rest[4:])
	c += binary.LittleEndian.Uint32(rest[8:])
	b, c = last(a, b, c)
	return uint64(b)<<32 | uint64(c)
}

func mix(a, b, c uint32) (x, y, z uint32) {
	rot := bits.RotateLeft32
	a = (a - c) ^ rot(c, 4)
	c += b
	b = (b - a) ^ rot(a, 6)
	a += c
	c = (c - b) ^ rot(b, 8)
	b += a
	a = (a - c) ^ rot(c, 16)
	c += b
	b = (b - a) ^ rot(a, 19)
	a += c
	c = (c - b) ^ rot(b, 4)
	b += a
	return a, b, c
}

func last(a, b, c uint32) (y, z uint32) {
	rot := bits.RotateLeft32
	c = (c ^ b) - rot(b, 14)
	a = (a ^ c) - rot(c, 11)
	b = (b ^ a) - rot(a, 25)
	c = (c ^ b) - rot(b, 16)
	a = (a ^ c) - rot(c, 4)
	b = (b ^ a) - rot(a, 14)
	c = (c ^ b) - rot(b, 24)
	return b, c
}
