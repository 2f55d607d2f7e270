{{- define "rotator.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "rotator.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "rotator.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "rotator.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The labels that select the Pods of one program: a dictionary of root and component. */}}
{{- define "rotator.selector" -}}
app.kubernetes.io/name: {{ include "rotator.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{- define "rotator.labels" -}}
{{ include "rotator.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "rotator.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The Pod of one program: a dictionary of root, component, keys (a Secret, or "") and volume (of the data, or ""). */}}
{{- define "rotator.pod" -}}
{{- $v := .root.Values -}}
{{- $program := get $v .component -}}
metadata:
  labels:
    {{- include "rotator.labels" . | nindent 4 }}
    {{- with $v.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    checksum/config: {{ $v.config | toJson | sha256sum }}
    {{- with $v.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "rotator.fullname" .root }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with $v.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  terminationGracePeriodSeconds: {{ $v.terminationGracePeriodSeconds }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile:
      type: RuntimeDefault
  containers:
    - name: {{ .component }}
      image: {{ include "rotator.image" .root | quote }}
      imagePullPolicy: {{ $v.image.pullPolicy }}
      command: [/usr/local/bin/{{ .component }}]
      args: [run, --config, /etc/rotator/rotator.yaml]
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        runAsNonRoot: true
        capabilities:
          drop: [ALL]
      env:
        - name: ROTATOR_CONFIG
          value: /etc/rotator/rotator.yaml
        - name: STATE_DIRECTORY
          value: /var/lib/rotator
        {{- if eq .component "notifier" }}
        - name: ROTATOR_HTTP_NOTIFIER_LISTEN
          value: 0.0.0.0:8080
        {{- else }}
        - name: ROTATOR_HTTP_LISTEN
          value: 0.0.0.0:8080
        {{- end }}
        {{- if $v.nats.expose }}
        - name: ROTATOR_NODE_LISTEN
          value: 0.0.0.0:4222
        {{- end }}
        {{- with $v.env }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        - name: http
          containerPort: 8080
        {{- if $v.nats.expose }}
        - name: nats
          containerPort: 4222
        {{- end }}
      # A start recovers the streams, which takes minutes after long use.
      startupProbe:
        httpGet: {path: /healthz, port: http}
        periodSeconds: 5
        failureThreshold: 60
      livenessProbe:
        httpGet: {path: /healthz, port: http}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /readyz, port: http}
        periodSeconds: 10
        timeoutSeconds: 5
      resources:
        {{- toYaml $program.resources | nindent 8 }}
      volumeMounts:
        # subPath is right here: a change of the configuration replaces the Pod.
        - name: config
          mountPath: /etc/rotator/rotator.yaml
          subPath: rotator.yaml
          readOnly: true
        - name: data
          mountPath: /var/lib/rotator
        {{- if .keys }}
        - name: keys
          mountPath: /etc/rotator/keys
          readOnly: true
        {{- end }}
        {{- if $v.trustedKeys }}
        - name: trusted
          mountPath: /etc/rotator/trusted
          readOnly: true
        {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "rotator.fullname" .root }}
    {{- if eq $v.mode "cluster" }}
    - name: data
      emptyDir:
        sizeLimit: 16Mi
    {{- end }}
    {{- with .keys }}
    - name: keys
      secret:
        secretName: {{ . | quote }}
        defaultMode: 0440
    {{- end }}
    {{- with $v.trustedKeys }}
    - name: trusted
      configMap:
        name: {{ . | quote }}
    {{- end }}
  {{- with $v.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
{{- end -}}
