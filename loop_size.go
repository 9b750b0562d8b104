package dataflow

import (
	"reflect"
	"sync/atomic"
	"time"
)

// How an automatic batch size moves. It begins small, so that the first checkpoint
// comes soon, and grows while batches are done quickly: each costs a commit.
const (
	firstBatchSize = 100
	greatestBatch  = 10_000                 // from there on, the commit's share is lost in the noise
	quickBatch     = 250 * time.Millisecond // from its first record to its checkpoint
	slowBatch      = time.Second
	// A batch of records that the size is not given for ends when it is estimated to
	// weigh so much: up to three are in memory.
	greatestWeight = 4 << 20
)

// batchSize is how large a batch is to be. The reader asks, and the writer decides.
type batchSize struct {
	size  atomic.Int64
	auto  bool // it is not the user's
	fixed bool // and does not move
}

// newBatchSize returns the size that a Runtime sets; 0 is automatic. A sink outside
// the database knows a batch by its ID, and is to be given the same batch again after
// a failure: its size depends on nothing but the records.
func newBatchSize(set int, fixed bool) *batchSize {
	s := &batchSize{auto: set == 0, fixed: fixed || set != 0}
	switch {
	case set != 0:
		s.size.Store(int64(set))
	case fixed:
		s.size.Store(DefaultBatchSize)
	default:
		s.size.Store(firstBatchSize)
	}
	return s
}

// learn moves the size after a batch of so many records was committed: took is the
// longer of the times to read it, and to transform and write it.
func (s *batchSize) learn(records int, took time.Duration) {
	size := s.size.Load()
	switch {
	case s.fixed:
	case took > slowBatch:
		s.size.Store(max(size/2, firstBatchSize))
	case took < quickBatch && int64(records) >= size:
		s.size.Store(min(2*size, greatestBatch))
	}
}

// weighEvery is how many records are weighed by one of them.
const weighEvery = 16

// weightDepth is how deep a record is looked into.
const weightDepth = 8

// weigh estimates the memory of a value, without that of v itself.
func weigh(v reflect.Value, depth int) int {
	if depth == 0 {
		return 0
	}
	switch v.Kind() {
	case reflect.String:
		return v.Len()
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return 0
		}
		return int(v.Elem().Type().Size()) + weigh(v.Elem(), depth-1)
	case reflect.Slice:
		return v.Len()*int(v.Type().Elem().Size()) + weighElements(v, depth)
	case reflect.Array:
		return weighElements(v, depth)
	case reflect.Map:
		sum := 0
		for it := v.MapRange(); it.Next(); {
			sum += int(v.Type().Key().Size()+v.Type().Elem().Size()) + weigh(it.Key(), depth-1) + weigh(it.Value(), depth-1)
		}
		return sum
	case reflect.Struct:
		sum := 0
		for i := range v.NumField() {
			sum += weigh(v.Field(i), depth-1)
		}
		return sum
	default:
		return 0
	}
}

// weighElements adds up what the elements of a list refer to; of plain ones nothing.
func weighElements(v reflect.Value, depth int) int {
	switch kind := v.Type().Elem().Kind(); {
	case kind <= reflect.Complex128:
		return 0
	default:
		sum := 0
		for i := range v.Len() {
			sum += weigh(v.Index(i), depth-1)
		}
		return sum
	}
}
