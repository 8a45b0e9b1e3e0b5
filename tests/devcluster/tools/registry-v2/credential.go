package main

import (
	"fmt"
	"net"
	"net/http"

	"github.com/docker/distribution/configuration"
	"github.com/ncw/swift"
	"github.com/sirupsen/logrus"
)

// The parameters that the platform's registry adds to those of the driver.
const (
	credentialID     = "applicationcredentialid"
	credentialName   = "applicationcredentialname"
	credentialSecret = "applicationcredentialsecret"
)

// logInWithCredential replaces an application credential, which the driver of v2.8 does not know, by an authentication service of
// this process: version 1, which answers a token and the URL of the account. The login itself is the one of the driver's client.
func logInWithCredential(parameters configuration.Parameters) error {
	text := func(name string) string {
		if value, ok := parameters[name]; ok && value != nil {
			return fmt.Sprint(value)
		}
		return ""
	}
	url, region := text("authurl"), text("region")
	id, name, secret := text(credentialID), text(credentialName), text(credentialSecret)
	if secret == "" {
		return nil
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	answer := func(w http.ResponseWriter, _ *http.Request) {
		login := swift.Connection{
			AuthUrl:                     url,
			AuthVersion:                 3,
			Region:                      region,
			ApplicationCredentialId:     id,
			ApplicationCredentialName:   name,
			ApplicationCredentialSecret: secret,
		}
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
