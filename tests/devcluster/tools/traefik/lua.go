// The script for Redis is not needed without a client of it.

package ratelimiter
