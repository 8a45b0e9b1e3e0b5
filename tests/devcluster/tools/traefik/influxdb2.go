package metrics

import (
	"context"

	otypes "github.com/traefik/traefik/v3/pkg/observability/types"
)

// RegisterInfluxDB2 registers nothing: this build has no client of InfluxDB, which no test needs.
func RegisterInfluxDB2(context.Context, *otypes.InfluxDB2) Registry { return nil }

// StopInfluxDB2 does nothing.
func StopInfluxDB2() {}
