{{- /* The namespace of the control plane. */ -}}
{{- define "osm.namespace" -}}
{{ default .Release.Namespace .Values.osm.osmNamespace }}
{{- end -}}

{{- /* What objects outside of a namespace are named: two meshes in a cluster must not share them. */ -}}
{{- define "osm.clusterName" -}}
osm-controller-{{ .Values.osm.meshName }}
{{- end -}}

{{- define "osm.labels" -}}
app.kubernetes.io/name: openservicemesh.io
app.kubernetes.io/instance: {{ .Values.osm.meshName | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end -}}

{{- /* The names by which the control plane looks for its webhooks. */ -}}
{{- define "osm.mutatingWebhook" -}}
osm-webhook-{{ .Values.osm.meshName }}
{{- end -}}

{{- define "osm.validatingWebhook" -}}
osm-validator-mesh-{{ .Values.osm.meshName }}
{{- end -}}

{{- /* An image, by the name of its value. */ -}}
{{- define "osm.image" -}}
{{- $image := .root.Values.osm.image -}}
{{- $digest := index $image.digest .name -}}
{{- $tag := default .root.Chart.AppVersion $image.tag -}}
{{ with $image.registry }}{{ . }}/{{ end }}{{ index $image.name .name }}
{{- if $digest }}@{{ $digest }}{{ else }}:{{ $tag }}{{ end }}
{{- end -}}

{{- /* Which namespaces the webhooks ask about. */ -}}
{{- define "osm.monitoredNamespaces" -}}
matchExpressions:
  - key: openservicemesh.io/monitored-by
    operator: In
    values: [{{ .Values.osm.meshName | quote }}]
  - key: openservicemesh.io/ignore
    operator: DoesNotExist
  - key: control-plane
    operator: DoesNotExist
  - key: kubernetes.io/metadata.name
    operator: NotIn
    values: [{{ include "osm.namespace" . | quote }}]
{{- end -}}
