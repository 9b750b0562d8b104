// Package dataflow runs data flows inside a Go service.
package dataflow
