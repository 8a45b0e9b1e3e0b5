// Package docker takes the place of Traefik's providers for Docker, which no test needs.
package docker

import (
	ptypes "github.com/traefik/paerser/types"
	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	"github.com/traefik/traefik/v3/pkg/safe"
)

// Provider provides nothing.
type Provider struct {
	HTTPClientTimeout ptypes.Duration
}

// Init does nothing.
func (*Provider) Init() error { return nil }

// Provide does nothing.
func (*Provider) Provide(chan<- dynamic.Message, *safe.Pool) error { return nil }

// SwarmProvider provides nothing.
type SwarmProvider struct {
	Provider
	RefreshSeconds ptypes.Duration
}
