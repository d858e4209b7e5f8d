// Package health checks instances: what is asked, what an answer means, how often, and from how many
// answers on an instance is healthy. It tells the proxies that listen what came of each check.
package health
