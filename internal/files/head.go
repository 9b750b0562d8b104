package files

import (
	"bytes"
	"hash/crc32"
)

// headBytes is the number of bytes by which a replaced file is noticed.
const headBytes = 1 << 10

// head are the first bytes of a file's records.
type head struct {
	from int64
	sum  uint32 // of all headBytes; 0 before they were read
	text []byte // of a compressed file
}

// Body says where the records begin. Call it before a byte after that is forgotten.
func (f *File) Body(from int64) {
	f.head = head{from: from}
	if f.stream == nil || f.info == nil {
		return
	}
	if stat, err := f.info.Stat(); err == nil && stat.Mode().IsRegular() {
		text, _ := f.stream.bytes(from, from+headBytes) // the next read meets the error again
		f.head.text = bytes.Clone(text)
	}
}

// Head returns a checksum of the first records up to an offset, but of no more than 1 KiB. It is
// 0 for a stream. A later read compares it, to notice that another file has taken the place of
// the one that was read.
func (f *File) Head(offset int64) uint32 {
	sum, _ := f.headSum(offset) // the next read meets the error again
	return sum
}

func (f *File) headSum(offset int64) (uint32, error) {
	if f.head.sum != 0 || f.info == nil {
		return f.head.sum, nil
	}
	n := min(offset-f.head.from, headBytes)
	if n <= 0 {
		return 0, nil
	}
	text := f.head.text
	if f.at != nil {
		var err error
		if text, err = f.Bytes(f.head.from, f.head.from+n); err != nil {
			return 0, err
		}
	}
	if int64(len(text)) < n {
		return 0, nil
	}
	sum := max(1, crc32.Checksum(text[:n], crc32.MakeTable(crc32.Castagnoli)))
	if n == headBytes {
		f.head.sum = sum
	}
	return sum, nil
}

// SameHead returns a *[StaleError] if the first records are not those of a cursor at an offset.
// sum is 0 if the cursor does not know them.
func (f *File) SameHead(sum uint32, offset int64) error {
	now, err := f.headSum(offset)
	switch {
	case sum == 0:
		return nil
	case err != nil:
		return err
	case now != sum:
		return stale(false, "its first records were changed after they were read: the file was replaced, as by a rotation of logs")
	default:
		return nil
	}
}

const (
	// tailBytes is the number of bytes at the end of a line by which a changed line is noticed.
	tailBytes = 64
	// tailReach is how far before the end of its line break they may begin.
	tailReach = int64(len(bomUTF8) + tailBytes + len("\r\n"))
)

// Tail returns a checksum of the end of a line, which may have its line break. [File.SameTail] compares it.
func Tail(line []byte) uint32 {
	line = TrimMark(trimBreak(line))
	return max(1, crc32.Checksum(line[max(0, len(line)-tailBytes):], crc32.MakeTable(crc32.Castagnoli)))
}

// SameTail returns a *[StaleError] if the line before an offset is not the one of which sum is the Tail. sum
// is 0 if the cursor does not know it.
func (f *File) SameTail(sum uint32, offset, line int64) error {
	if sum == 0 {
		return nil
	}
	text, err := f.Bytes(max(f.head.from, offset-tailReach), offset)
	if err != nil {
		return err
	}
	text = trimBreak(text)
	if Tail(text[bytes.LastIndexByte(text, '\n')+1:]) != sum {
		return stale(false, "line %d was changed after it was read: the file was replaced, or records before it were added or removed", line)
	}
	return nil
}

// Unchanged returns a *[StaleError] if the file was cut or replaced while it was read up to an
// offset. It looks at the length and the first records of a file of at least 1 KiB that is not
// compressed. A length of 0 says nothing: /proc and some servers report it for each file.
func (f *File) Unchanged(offset int64) error {
	sum := f.head.sum
	if f.at == nil || sum == 0 {
		return nil
	}
	size, err := f.Size()
	if err != nil {
		return err
	}
	last, err := f.Bytes(offset-1, offset)
	if err != nil {
		return err
	}
	if size < offset && (size > 0 || len(last) == 0) {
		return stale(true, "the file has %d bytes, but %d were read: it was cut or replaced while it was read", size, offset)
	}
	f.head.sum = 0
	return f.SameHead(sum, offset)
}
