package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

const filesystem = "REGISTRY_STORAGE=filesystem"

func TestWhatOnlyThePlatformsRegistryKnowsIsRemoved(t *testing.T) {
	p, err := translate([]string{filesystem, "REGISTRY_OPENSHIFT_SERVER_ADDR=a:5000", "REGISTRY_OPENSHIFT_QUOTA_ENABLED=true", "REGISTRY_HTTP_ADDR=:5000"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"REGISTRY_OPENSHIFT_QUOTA_ENABLED", "REGISTRY_OPENSHIFT_SERVER_ADDR"}
	if !slices.Equal(p.unset, want) {
		t.Errorf("unset %v, want %v", p.unset, want)
	}
	if p.set[traces] != "none" {
		t.Error("traces would be sent somewhere")
	}
}

func TestTlsVersionsAndSuitesAreTranslated(t *testing.T) {
	for given, want := range map[string]string{"VersionTLS10": "tls1.2", "VersionTLS12": "tls1.2", "VersionTLS13": "tls1.3"} {
		p, err := translate([]string{filesystem, minVersion + "=" + given})
		if err != nil || p.set[minimumTLS] != want {
			t.Errorf("%s: %q, %v", given, p.set[minimumTLS], err)
		}
	}
	if _, err := translate([]string{filesystem, minVersion + "=tls1.2"}); err == nil || !strings.Contains(err.Error(), "tls1.2") {
		t.Errorf("an unknown version must be named: %v", err)
	}
	p, err := translate([]string{filesystem, cipherSuites + "=TLS_AES_128_GCM_SHA256,TLS_RSA_WITH_RC4_128_SHA,TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305"})
	want := []string{"TLS_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"}
	if err != nil || !slices.Equal(p.cipherSuites, want) || len(p.notes) != 1 {
		t.Errorf("%v, %v, %v", p.cipherSuites, p.notes, err)
	}
}

func TestCredentialsReachTheDrivers(t *testing.T) {
	p, err := translate([]string{"REGISTRY_STORAGE=s3", s3Credentials + "=/var/run/secrets/cloud/credentials"})
	want := map[string]string{traces: "none", "AWS_SHARED_CREDENTIALS_FILE": "/var/run/secrets/cloud/credentials", "AWS_SDK_LOAD_CONFIG": "1"}
	if err != nil || !reflect.DeepEqual(p.set, want) {
		t.Errorf("%v, %v", p.set, err)
	}
	p, _ = translate([]string{"REGISTRY_STORAGE=azure", azureAccountKey + "=a2V5"})
	if p.set[azureKind] != "shared_key" {
		t.Errorf("azure with a key: %v", p.set)
	}
	p, _ = translate([]string{"REGISTRY_STORAGE=azure", "AZURE_CLIENT_ID=x"})
	if p.set[azureKind] != "default_credentials" {
		t.Errorf("azure with a token: %v", p.set)
	}
}

func TestAFederationOfGoogleCloudIsNoKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyfile")
	environ := []string{"REGISTRY_STORAGE=gcs", gcsKeyFile + "=" + path}
	for kind, want := range map[string]map[string]string{
		"service_account":  {traces: "none"},
		"external_account": {traces: "none", googleDefault: path, noRedirect: "true"},
	} {
		if err := os.WriteFile(path, []byte(`{"type": "`+kind+`"}`), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := translate(environ)
		if err != nil || !reflect.DeepEqual(p.set, want) || slices.Contains(p.unset, gcsKeyFile) != (kind == "external_account") {
			t.Errorf("%s: %v, %v, %v", kind, p.set, p.unset, err)
		}
	}
	if err := os.WriteFile(path, []byte("no JSON"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := translate(environ); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a file that is no JSON must be named: %v", err)
	}
}

func TestPathStyleIsForEndpointsOfOnesOwn(t *testing.T) {
	style := s3PathStyle + "=true"
	p, err := translate([]string{"REGISTRY_STORAGE=s3", style})
	if err != nil || !slices.Contains(p.unset, s3PathStyle) {
		t.Errorf("public endpoint: %v, %v", p.unset, err)
	}
	p, err = translate([]string{"REGISTRY_STORAGE=s3", style, s3Endpoint + "=https://s3.example.com"})
	if err != nil || len(p.unset) != 0 {
		t.Errorf("own endpoint: %v, %v", p.unset, err)
	}
}

func TestAMissingDriverIsSaid(t *testing.T) {
	if _, err := translate(nil); err == nil {
		t.Error("no driver was accepted")
	}
}

func TestTheOperatorsEnvironmentIsAConfiguration(t *testing.T) {
	for name, value := range map[string]string{
		"REGISTRY_STORAGE": "filesystem", "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": "/registry",
		"REGISTRY_HTTP_ADDR": ":5000", "REGISTRY_HTTP_NET": "tcp", "REGISTRY_HTTP_SECRET": "12345", "REGISTRY_LOG_LEVEL": "warn",
		"REGISTRY_OPENSHIFT_QUOTA_ENABLED": "true", "REGISTRY_OPENSHIFT_METRICS_ENABLED": "true",
		"REGISTRY_OPENSHIFT_REQUESTS_READ_MAXWAITINQUEUE": "0s", "REGISTRY_STORAGE_CACHE_BLOBDESCRIPTOR": "inmemory",
		"REGISTRY_STORAGE_DELETE_ENABLED": "true", "REGISTRY_STORAGE_MAINTENANCE_READONLY": "{enabled: true}",
		"REGISTRY_STORAGE_REDIRECT_DISABLE": "true", "REGISTRY_HEALTH_STORAGEDRIVER_ENABLED": "true",
		"REGISTRY_HEALTH_STORAGEDRIVER_INTERVAL": "10s", "REGISTRY_HEALTH_STORAGEDRIVER_THRESHOLD": "1",
		"REGISTRY_HTTP_TLS_CERTIFICATE": "/etc/secrets/tls.crt", "REGISTRY_HTTP_TLS_KEY": "/etc/secrets/tls.key",
		"REGISTRY_HTTP_TLS_MINVERSION": "VersionTLS12", cipherSuites: "TLS_AES_128_GCM_SHA256",
	} {
		t.Setenv(name, value)
	}
	config, err := configure()
	if err != nil {
		t.Fatal(err)
	}
	readOnly, _ := config.Storage["maintenance"]["readonly"].(map[any]any)
	if config.Storage.Type() != "filesystem" || config.HTTP.Secret != "12345" || config.HTTP.TLS.MinimumTLS != "tls1.2" ||
		config.HTTP.DrainTimeout != drain || readOnly["enabled"] != true || config.Log.Level != "warn" {
		t.Errorf("%+v", config)
	}
}

func TestExtensionsDoNotReachTheRegistry(t *testing.T) {
	answer := func(code int) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
	}
	handler := withExtensions(answer(418), answer(204))
	for path, want := range map[string]int{healthPath: 200, metricsPath: 204, "/v2/": 418} {
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, path, nil))
		if recorder.Code != want {
			t.Errorf("%s: %d, want %d", path, recorder.Code, want)
		}
	}
}
