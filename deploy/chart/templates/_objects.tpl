{{/* The objects in files of base/, a YAML document for each. Arguments: files, and a template that changes an object in place. */}}
{{- define "objects" }}
{{- $root := .root }}
{{- $change := .change }}
{{- range $path, $content := .files }}
{{- range $document := regexSplit "(?m)^---$" (toString $content) -1 }}
{{- $object := fromYaml $document }}
{{- if hasKey $object "Error" }}
{{- fail (printf "%s: %s" $path $object.Error) }}
{{- end }}
{{- if $object }}
{{- include $change (dict "root" $root "object" $object) }}
---
# {{ $path }}
{{ toYaml $object }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* A registry needs these objects also without its operator: an uninstallation keeps them. */}}
{{- define "keep" }}
{{- $metadata := .object.metadata }}
{{- $annotations := $metadata.annotations | default dict }}
{{- $_ := set $annotations "helm.sh/resource-policy" "keep" }}
{{- $_ := set $metadata "annotations" $annotations }}
{{- end }}

{{/* Images, version and placement of the operator. */}}
{{- define "operator" }}
{{- $values := .root.Values }}
{{- if eq .object.kind "Deployment" }}
{{- $pod := .object.spec.template.spec }}
{{- $container := index $pod.containers 0 }}
{{- $_ := set $container "image" $values.image.operator }}
{{- $set := dict "OPERATOR_IMAGE" $values.image.operator "IMAGE" $values.image.registry "IMAGE_PRUNER" $values.image.pruner "RELEASE_VERSION" $values.releaseVersion "OPERATOR_IMAGE_VERSION" $values.releaseVersion }}
{{- range $variable := $container.env }}
{{- if hasKey $set $variable.name }}
{{- $_ := set $variable "value" (get $set $variable.name) }}
{{- end }}
{{- end }}
{{- range $name, $value := dict "HTTP_PROXY" $values.proxy.httpProxy "HTTPS_PROXY" $values.proxy.httpsProxy "NO_PROXY" $values.proxy.noProxy }}
{{- if $value }}
{{- $_ := set $container "env" (append $container.env (dict "name" $name "value" $value)) }}
{{- end }}
{{- end }}
{{- if kindIs "map" $values.resources }}
{{- $_ := set $container "resources" $values.resources }}
{{- end }}
{{- if kindIs "map" $values.nodeSelector }}
{{- $_ := set $pod "nodeSelector" $values.nodeSelector }}
{{- end }}
{{- if kindIs "slice" $values.tolerations }}
{{- $_ := set $pod "tolerations" $values.tolerations }}
{{- end }}
{{- else if eq .object.kind "ClusterOperator" }}
{{- range .object.status.versions }}
{{- $_ := set . "version" $values.releaseVersion }}
{{- end }}
{{- end }}
{{- end }}

{{/* What the admission policies do with a mistake. */}}
{{- define "optional" }}
{{- if eq .object.kind "ValidatingAdmissionPolicyBinding" }}
{{- $_ := set .object.spec "validationActions" (list .root.Values.optional.admissionPolicy) }}
{{- end }}
{{- end }}
