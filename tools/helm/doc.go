// Package helm checks the chart in deployments/helm, with Helm itself and the types of the
// Kubernetes API.
package helm
