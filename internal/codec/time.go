package codec

import (
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"time"
	"unsafe"
)

const (
	timeSize = 16
	zoneUTC  = math.MinInt32
	// zoneMemory is what time.FixedZone asks for.
	zoneMemory = 192
)

var (
	timeType = reflect.TypeFor[time.Time]()
	errTime  = errors.New("a time with more than 999999999 nanoseconds")
)

func (e *encoder) time(p unsafe.Pointer) {
	t := (*time.Time)(p)
	zone := int32(zoneUTC)
	if t.Location() != time.UTC {
		_, offset := t.Zone()
		zone = int32(offset)
	}
	e.buf = binary.LittleEndian.AppendUint64(e.buf, uint64(t.Unix()))
	e.buf = binary.LittleEndian.AppendUint32(e.buf, uint32(t.Nanosecond()))
	e.buf = binary.LittleEndian.AppendUint32(e.buf, uint32(zone))
}

func (d *decoder) time(p unsafe.Pointer) error {
	if len(d.src) < timeSize {
		return errShort
	}
	sec := int64(binary.LittleEndian.Uint64(d.src))
	nsec := binary.LittleEndian.Uint32(d.src[8:])
	zone := int32(binary.LittleEndian.Uint32(d.src[12:]))
	d.src = d.src[timeSize:]
	if nsec > 999_999_999 {
		return errTime
	}
	t := time.Unix(sec, int64(nsec))
	if zone == zoneUTC {
		*(*time.Time)(p) = t.UTC()
		return nil
	}
	if _, local := t.Zone(); local != int(zone) {
		if err := d.spend(zoneMemory); err != nil {
			return err
		}
		t = t.In(time.FixedZone("", int(zone)))
	}
	*(*time.Time)(p) = t
	return nil
}
