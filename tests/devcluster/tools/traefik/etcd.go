// Package etcd takes the place of Traefik's provider for etcd, which no test needs.
package etcd

import (
	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	"github.com/traefik/traefik/v3/pkg/safe"
)

// Provider provides nothing.
type Provider struct{}

// Init does nothing.
func (*Provider) Init() error { return nil }

// Provide does nothing.
func (*Provider) Provide(chan<- dynamic.Message, *safe.Pool) error { return nil }
