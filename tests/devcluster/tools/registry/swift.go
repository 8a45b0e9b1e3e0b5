package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	old "github.com/docker/distribution/registry/storage/driver"
	oldswift "github.com/docker/distribution/registry/storage/driver/swift"
	"github.com/ncw/swift"
	"github.com/sirupsen/logrus"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/factory"
)

const (
	swiftDriver = "swift"
	// The parameters that the platform's registry adds to the driver's.
	credentialID     = "applicationcredentialid"
	credentialName   = "applicationcredentialname"
	credentialSecret = "applicationcredentialsecret"
)

func init() {
	factory.Register(swiftDriver, swiftFactory{})
}

// swiftFactory makes the Swift driver of distribution v2.8, the line of the platform's registry. v3 has none any more.
type swiftFactory struct{}

func (swiftFactory) Create(_ context.Context, parameters map[string]any) (driver.StorageDriver, error) {
	if secret := text(parameters, credentialSecret); secret != "" {
		if err := logInFor(parameters, secret); err != nil {
			return nil, err
		}
	}
	made, err := oldswift.FromParameters(parameters)
	if err != nil {
		return nil, err
	}
	return adapter{made}, nil
}

func text(parameters map[string]any, name string) string {
	if value, ok := parameters[name]; ok {
		return fmt.Sprint(value)
	}
	return ""
}

// logInFor replaces an application credential, which the driver of v2.8 does not know, by an authentication service of this
// process: version 1, which answers a token and the URL of the account. The login itself is the one of the driver's client.
func logInFor(parameters map[string]any, secret string) error {
	connection := swift.Connection{
		AuthUrl:                     text(parameters, "authurl"),
		AuthVersion:                 3,
		Region:                      text(parameters, "region"),
		ApplicationCredentialId:     text(parameters, credentialID),
		ApplicationCredentialName:   text(parameters, credentialName),
		ApplicationCredentialSecret: secret,
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	answer := func(w http.ResponseWriter, r *http.Request) {
		login := connection
		if err := login.Authenticate(); err != nil {
			logrus.Errorf("login with an application credential: %v", err)
			http.Error(w, "", http.StatusUnauthorized)
			return
		}
		w.Header().Set("X-Storage-Url", login.StorageUrl)
		w.Header().Set("X-Auth-Token", login.AuthToken)
	}
	go func() { logrus.Error(http.Serve(listener, http.HandlerFunc(answer))) }()
	for _, name := range []string{credentialID, credentialName, credentialSecret, "domain", "domainid", "tenant", "tenantid"} {
		delete(parameters, name)
	}
	parameters["authurl"] = "http://" + listener.Addr().String()
	parameters["authversion"] = 1
	// The driver wants both; they are for this process alone.
	parameters["username"], parameters["password"] = "registry", "registry"
	return nil
}

// adapter gives a driver of distribution v2 the interface of v3.
type adapter struct {
	driver old.StorageDriver
}

func (a adapter) Name() string { return a.driver.Name() }

func (a adapter) GetContent(ctx context.Context, path string) ([]byte, error) {
	content, err := a.driver.GetContent(ctx, path)
	return content, translated(err)
}

func (a adapter) PutContent(ctx context.Context, path string, content []byte) error {
	return translated(a.driver.PutContent(ctx, path, content))
}

func (a adapter) Reader(ctx context.Context, path string, offset int64) (io.ReadCloser, error) {
	reader, err := a.driver.Reader(ctx, path, offset)
	return reader, translated(err)
}

func (a adapter) Writer(ctx context.Context, path string, more bool) (driver.FileWriter, error) {
	made, err := a.driver.Writer(ctx, path, more)
	if err != nil {
		return nil, translated(err)
	}
	return writer{made}, nil
}

func (a adapter) Stat(ctx context.Context, path string) (driver.FileInfo, error) {
	info, err := a.driver.Stat(ctx, path)
	return info, translated(err)
}

func (a adapter) List(ctx context.Context, path string) ([]string, error) {
	names, err := a.driver.List(ctx, path)
	return names, translated(err)
}

func (a adapter) Move(ctx context.Context, from, to string) error {
	return translated(a.driver.Move(ctx, from, to))
}

func (a adapter) Delete(ctx context.Context, path string) error {
	return translated(a.driver.Delete(ctx, path))
}

func (a adapter) RedirectURL(r *http.Request, path string) (string, error) {
	url, err := a.driver.URLFor(r.Context(), path, map[string]any{"method": r.Method})
	var unsupported old.ErrUnsupportedMethod
	if errors.As(err, &unsupported) {
		return "", nil // v3's drivers say so: the registry serves the content itself.
	}
	return url, translated(err)
}

func (a adapter) Walk(ctx context.Context, path string, f driver.WalkFn, options ...func(*driver.WalkOptions)) error {
	return driver.WalkFallback(ctx, a, path, f, options...)
}

// writer gives a FileWriter of v2 the interface of v3.
type writer struct {
	old.FileWriter
}

func (w writer) Cancel(context.Context) error { return w.FileWriter.Cancel() }

func (w writer) Commit(context.Context) error { return w.FileWriter.Commit() }

// translated is the error of v3 for one of v2: the registry decides by the type.
func translated(err error) error {
	var notFound old.PathNotFoundError
	var path old.InvalidPathError
	var offset old.InvalidOffsetError
	switch {
	case errors.As(err, &notFound):
		return driver.PathNotFoundError{Path: notFound.Path, DriverName: swiftDriver}
	case errors.As(err, &path):
		return driver.InvalidPathError{Path: path.Path, DriverName: swiftDriver}
	case errors.As(err, &offset):
		return driver.InvalidOffsetError{Path: offset.Path, Offset: offset.Offset, DriverName: swiftDriver}
	default:
		return err
	}
}
