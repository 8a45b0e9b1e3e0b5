//! What a long-running process needs; it knows no Kubernetes object of ours.
