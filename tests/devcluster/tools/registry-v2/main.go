// The registry program of the test cluster where the storage is Swift: distribution v2.8, the line of the platform's registry,
// as a library. v3 has no driver for Swift any more, and drivers of both lines do not fit into one program: they register the
// same metrics. The program of ../registry prepares the environment and replaces itself by this one.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/docker/distribution/configuration"
	"github.com/docker/distribution/health"
	"github.com/docker/distribution/registry/handlers"
	_ "github.com/docker/distribution/registry/storage/driver/swift"
	"github.com/docker/go-metrics"
	"github.com/sirupsen/logrus"
)

const (
	healthPath  = "/healthz"
	metricsPath = "/extensions/v2/metrics"
	// The pod has 55 s to end, of which preStop sleeps 25.
	drain = 25 * time.Second
	// Everything else comes from the environment.
	baseConfiguration = "version: 0.1\nlog: {accesslog: {disabled: false}}\n"
)

func main() {
	if err := run(); err != nil {
		logrus.Fatal(err)
	}
}

func run() error {
	config, err := configuration.Parse(strings.NewReader(baseConfiguration))
	if err != nil {
		return err
	}
	if err := logInWithCredential(config.Storage.Parameters()); err != nil {
		return err
	}
	app := handlers.NewApp(context.Background(), config)
	app.RegisterHealthChecks()
	server := &http.Server{
		Addr:      config.HTTP.Addr,
		Handler:   withExtensions(app, metrics.Handler()),
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12},
	}
	ended := make(chan error, 1)
	go func() {
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGTERM)
		<-signals
		ctx, cancel := context.WithTimeout(context.Background(), drain)
		defer cancel()
		ended <- server.Shutdown(ctx)
	}()
	if config.HTTP.TLS.Certificate == "" {
		err = server.ListenAndServe()
	} else {
		err = server.ListenAndServeTLS(config.HTTP.TLS.Certificate, config.HTTP.TLS.Key)
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-ended
}

// withExtensions answers the two paths that the platform's registry adds.
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
