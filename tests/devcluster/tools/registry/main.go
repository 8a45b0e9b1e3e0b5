// The registry program of the test cluster: distribution v3 as a library, behaving outwardly like the platform's
// dockerregistry. It is configured by nothing but its environment (see environment.go), serves /healthz and
// /extensions/v2/metrics beside the registry API, and drains on SIGTERM. It knows no users: authentication and
// authorisation belong to the platform's registry, which cannot be had here.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/health"
	"github.com/distribution/distribution/v3/registry"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/azure"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/gcs"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/middleware/cloudfront"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/s3-aws"
	"github.com/docker/go-metrics"
	"github.com/sirupsen/logrus"
)

const (
	healthPath  = "/healthz"
	metricsPath = "/extensions/v2/metrics"
	// The pod has 55 s to end, of which preStop sleeps 25: what is left, less a margin, is for requests under way.
	drain = 25 * time.Second
	// The program for Swift, which this distribution has no driver for; see ../registry-v2.
	swiftProgram = "/usr/bin/dockerregistry-v2"
	// Everything else comes from the environment, laid over this by distribution's own rules.
	baseConfiguration = "version: 0.1\nlog: {accesslog: {disabled: false}}\n"
)

func main() {
	if err := run(); err != nil {
		logrus.Fatal(err)
	}
}

func run() error {
	config, err := configure()
	if err != nil {
		return err
	}
	if config.Storage.Type() == "swift" {
		return syscall.Exec(swiftProgram, []string{swiftProgram}, os.Environ())
	}
	registry.RegisterHandler(func(_ *configuration.Configuration, next http.Handler) http.Handler {
		return withExtensions(next, metrics.Handler())
	})
	server, err := registry.NewRegistry(context.Background(), config)
	if err != nil {
		return err
	}
	err = server.ListenAndServe()
	if err == http.ErrServerClosed {
		return nil
	}
	return err
}

// configure changes this process's environment to what distribution understands, and parses it.
func configure() (*configuration.Configuration, error) {
	plan, err := translate(os.Environ())
	if err != nil {
		return nil, err
	}
	for _, line := range plan.notes {
		logrus.Warn(line)
	}
	for _, name := range plan.unset {
		if err := os.Unsetenv(name); err != nil {
			return nil, err
		}
	}
	for name, value := range plan.set {
		if err := os.Setenv(name, value); err != nil {
			return nil, err
		}
	}
	config, err := configuration.Parse(strings.NewReader(baseConfiguration))
	if err != nil {
		return nil, fmt.Errorf("the environment is no registry configuration: %w", err)
	}
	config.HTTP.TLS.CipherSuites = plan.cipherSuites
	// Makes the handlers count; there is no debug server, so nothing else is exposed by it.
	config.HTTP.Debug.Prometheus.Enabled = true
	if config.HTTP.DrainTimeout == 0 {
		config.HTTP.DrainTimeout = drain
	}
	return config, nil
}

// withExtensions answers the two paths that the platform's registry adds, also while the storage is unhealthy and the
// registry API itself answers 503.
func withExtensions(next, metrics http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case healthPath:
			health.StatusHandler(w, r)
		case metricsPath:
			metrics.ServeHTTP(w, r)
		default:
			next.ServeHTTP(w, r)
		}
	})
}
