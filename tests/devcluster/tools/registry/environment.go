package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
)

// plan is what must change in the environment before distribution reads it.
type plan struct {
	set          map[string]string
	unset        []string
	cipherSuites []string
	notes        []string
}

// The names of the environment that the operator renders and distribution does not know.
const (
	platformPrefix  = "REGISTRY_OPENSHIFT_"
	minVersion      = "REGISTRY_HTTP_TLS_MINVERSION"
	minimumTLS      = "REGISTRY_HTTP_TLS_MINIMUMTLS"
	cipherSuites    = "OPENSHIFT_REGISTRY_HTTP_TLS_CIPHERSUITES"
	s3Credentials   = "REGISTRY_STORAGE_S3_CREDENTIALSCONFIGPATH"
	s3Endpoint      = "REGISTRY_STORAGE_S3_REGIONENDPOINT"
	s3PathStyle     = "REGISTRY_STORAGE_S3_FORCEPATHSTYLE"
	azureAccountKey = "REGISTRY_STORAGE_AZURE_ACCOUNTKEY"
	azureKind       = "REGISTRY_STORAGE_AZURE_CREDENTIALS_TYPE"
	gcsKeyFile      = "REGISTRY_STORAGE_GCS_KEYFILE"
	googleDefault   = "GOOGLE_APPLICATION_CREDENTIALS"
	noRedirect      = "REGISTRY_STORAGE_REDIRECT_DISABLE"
	traces          = "OTEL_TRACES_EXPORTER"
)

// minimumVersions maps Go's names of TLS versions to distribution's, which serves nothing older than 1.2.
var minimumVersions = map[string]string{
	"VersionTLS10": "tls1.2",
	"VersionTLS11": "tls1.2",
	"VersionTLS12": "tls1.2",
	"VersionTLS13": "tls1.3",
}

// unsupportedSuites are names that the platform may render and that distribution refuses to start with.
var unsupportedSuites = []string{
	"TLS_RSA_WITH_RC4_128_SHA",
	"TLS_RSA_WITH_AES_128_CBC_SHA256",
	"TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
	"TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
	"TLS_ECDHE_RSA_WITH_RC4_128_SHA",
	"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
}

// suiteAliases are older names of the same suites.
var suiteAliases = map[string]string{
	"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305": "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
	"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305":   "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
}

// translate says what to change in an environment made for the platform's registry, so that distribution reads the
// same meaning out of it.
func translate(environ []string) (plan, error) {
	env := map[string]string{}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		env[name] = value
	}
	p := plan{set: map[string]string{traces: "none"}}
	for name := range env {
		if strings.HasPrefix(name, platformPrefix) {
			p.unset = append(p.unset, name)
		}
	}
	slices.Sort(p.unset)
	if err := p.tls(env); err != nil {
		return plan{}, err
	}
	return p, p.storage(env)
}

func (p *plan) tls(env map[string]string) error {
	if version, ok := env[minVersion]; ok {
		minimum, known := minimumVersions[version]
		if !known {
			return fmt.Errorf("%s: %q is no TLS version such as VersionTLS12", minVersion, version)
		}
		if version == "VersionTLS10" || version == "VersionTLS11" {
			p.notes = append(p.notes, minVersion+": this registry serves nothing older than TLS 1.2")
		}
		p.unset = append(p.unset, minVersion)
		p.set[minimumTLS] = minimum
	}
	for _, suite := range strings.Split(env[cipherSuites], ",") {
		suite = strings.TrimSpace(suite)
		if alias, ok := suiteAliases[suite]; ok {
			suite = alias
		}
		switch {
		case suite == "":
		case slices.Contains(unsupportedSuites, suite):
			p.notes = append(p.notes, cipherSuites+": this registry does not offer "+suite)
		default:
			p.cipherSuites = append(p.cipherSuites, suite)
		}
	}
	return nil
}

func (p *plan) storage(env map[string]string) error {
	if path, ok := env[s3Credentials]; ok {
		// Inside the platform's registry the driver does this; the SDK then also finds roles and token files.
		p.unset = append(p.unset, s3Credentials)
		p.set["AWS_SHARED_CREDENTIALS_FILE"] = strings.Trim(path, `"'`)
		p.set["AWS_SDK_LOAD_CONFIG"] = "1"
	}
	if _, ok := env[s3PathStyle]; ok && env[s3Endpoint] == "" {
		// The platform's driver asks for it at endpoints of one's own only: the public ones have the bucket in the host.
		p.unset = append(p.unset, s3PathStyle)
	}
	switch env["REGISTRY_STORAGE"] {
	case "":
		return fmt.Errorf("REGISTRY_STORAGE is not set: name a storage driver")
	case "azure":
		// distribution wants to be told which kind of credentials it has; the platform's driver finds out.
		if _, told := env[azureKind]; !told {
			p.set[azureKind] = "default_credentials"
			if env[azureAccountKey] != "" {
				p.set[azureKind] = "shared_key"
			}
		}
	case "gcs":
		if path, ok := env[gcsKeyFile]; ok {
			return p.federation(strings.Trim(path, `"'`))
		}
	}
	return nil
}

// federation hands the configuration of a workload identity federation to Google's library: distribution's driver takes
// nothing but keys of service accounts as its key file. The platform's driver takes both. Without a private key it signs no
// URLs, and serves the layers itself.
func (p *plan) federation(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%s: %w", gcsKeyFile, err)
	}
	var file struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return fmt.Errorf("%s: %s is no JSON: %w", gcsKeyFile, path, err)
	}
	if file.Type == "external_account" {
		p.unset = append(p.unset, gcsKeyFile)
		p.set[googleDefault] = path
		p.set[noRedirect] = "true"
	}
	return nil
}
