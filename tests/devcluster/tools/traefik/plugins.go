// Package plugins takes the place of Traefik's plugins: an interpreter of Go and a machine for WebAssembly, which no test needs.
package plugins

import (
	"context"
	"errors"
	"net/http"

	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	"github.com/traefik/traefik/v3/pkg/safe"
)

var errNone = errors.New("this build has no plugins")

// Constructor makes a middleware.
type Constructor func(context.Context, http.Handler) (http.Handler, error)

// Descriptor names a plugin.
type Descriptor struct{ ModuleName string }

// LocalDescriptor names a plugin.
type LocalDescriptor struct{ ModuleName string }

// RegistryDownloaderOptions are not used.
type RegistryDownloaderOptions struct {
	HTTPClient   *http.Client
	ArchivesPath string
}

// RegistryDownloader downloads nothing.
type RegistryDownloader struct{}

// NewRegistryDownloader refuses.
func NewRegistryDownloader(RegistryDownloaderOptions) (*RegistryDownloader, error) {
	return nil, errNone
}

// ManagerOptions are not used.
type ManagerOptions struct{ Output string }

// Manager manages nothing.
type Manager struct{}

// NewManager refuses.
func NewManager(*RegistryDownloader, ManagerOptions) (*Manager, error) { return nil, errNone }

// SetupRemotePlugins refuses.
func SetupRemotePlugins(*Manager, map[string]Descriptor) error { return errNone }

// SetupLocalPlugins refuses.
func SetupLocalPlugins(map[string]LocalDescriptor) error { return errNone }

// Builder builds nothing.
type Builder struct{}

// NewBuilder makes a Builder.
func NewBuilder(*Manager, map[string]Descriptor, map[string]LocalDescriptor) (*Builder, error) {
	return &Builder{}, nil
}

// Build refuses.
func (*Builder) Build(string, map[string]any, string) (Constructor, error) { return nil, errNone }

// BuildProvider refuses.
func (*Builder) BuildProvider(string, map[string]any) (*Provider, error) { return nil, errNone }

// Provider provides nothing.
type Provider struct{}

// Init refuses.
func (*Provider) Init() error { return errNone }

// Provide refuses.
func (*Provider) Provide(chan<- dynamic.Message, *safe.Pool) error { return errNone }
