// The pause program of the nodes; the standard library is enough for it.
module image-registry-operator/devcluster/pause

go 1.26.0
