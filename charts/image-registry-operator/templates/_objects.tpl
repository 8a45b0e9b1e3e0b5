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
{{- $unwanted := and $object (not $root.Values.namespace) (eq $object.kind "Namespace") (eq $object.metadata.name "openshift-image-registry") }}
{{- if and $object (not $unwanted) }}
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

{{/* The kubelet expands `$(NAME)` in the value of a variable, and reads `$$` as `$`. */}}
{{- define "literal" }}
{{- . | replace "$" "$$" }}
{{- end }}

{{/* Images, version and placement of the operator. */}}
{{- define "operator" }}
{{- $values := .root.Values }}
{{- if eq .object.kind "Deployment" }}
{{- $pod := .object.spec.template.spec }}
{{- $container := index $pod.containers 0 }}
{{- if $values.image.operator }}
{{- $_ := set $container "image" $values.image.operator }}
{{- end }}
{{- $expose := $values.exposure }}
{{- /* YAML reads `off` as false. */}}
{{- $set := dict "OPERATOR_IMAGE" $values.image.operator "IMAGE" $values.image.registry "IMAGE_PRUNER" $values.image.pruner
  "RELEASE_VERSION" $values.releaseVersion "OPERATOR_IMAGE_VERSION" $values.releaseVersion
  "REGISTRY_PROGRAM" $values.registryProgram "NODE_CA" (eq (toString $values.nodeCA) "false" | ternary "off" $values.nodeCA)
  "EXPOSE" $expose.by "EXPOSE_DOMAIN" $expose.domain "EXPOSE_INGRESS_CLASS" $expose.ingressClass "EXPOSE_GATEWAY" $expose.gateway
  "EXPOSE_ANNOTATIONS" (empty $expose.annotations | ternary "" (toJson $expose.annotations))
  "DEFAULT_CONFIG_SPEC" (empty $values.config | ternary "" (toJson $values.config))
  "HTTP_PROXY" $values.proxy.httpProxy "HTTPS_PROXY" $values.proxy.httpsProxy "NO_PROXY" $values.proxy.noProxy }}
{{- $found := dict }}
{{- range $variable := $container.env }}
{{- $_ := set $found $variable.name true }}
{{- if get $set $variable.name }}
{{- $_ := set $variable "value" (include "literal" (get $set $variable.name)) }}
{{- end }}
{{- end }}
{{- range $name, $value := $set }}
{{- if and $value (not (hasKey $found $name)) }}
{{- $_ := set $container "env" (append $container.env (dict "name" $name "value" (include "literal" $value))) }}
{{- end }}
{{- end }}
{{- if kindIs "map" $values.resources }}
{{- $_ := set $container "resources" $values.resources }}
{{- end }}
{{- if $values.priorityClassName }}
{{- $_ := set $pod "priorityClassName" $values.priorityClassName }}
{{- end }}
{{- if kindIs "map" $values.nodeSelector }}
{{- /* The image is for Linux: other clusters than OKD have nodes with Windows, too. */}}
{{- $linux := eq $values.platform "kubernetes" | ternary (dict "kubernetes.io/os" "linux") (dict) }}
{{- $_ := set $pod "nodeSelector" (merge (deepCopy $values.nodeSelector) $linux) }}
{{- end }}
{{- if kindIs "slice" $values.tolerations }}
{{- $_ := set $pod "tolerations" $values.tolerations }}
{{- end }}
{{- else if and (eq .object.kind "ClusterOperator") $values.releaseVersion }}
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
