variable "name" {
  description = "Name of the function and the start of every other name"
  type        = string
  default     = "rotator"
}

variable "zip" {
  description = "Path of the zip, for the architecture below: go tool task lambda:zip makes it"
  type        = string
}

variable "architecture" {
  description = "arm64 or x86_64"
  type        = string
  default     = "arm64"

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "Use arm64 or x86_64."
  }
}

variable "secrets" {
  description = "What the function may rotate, as the name of a secret with wildcards, such as tradepulse/*"
  type        = string
}

variable "kms_key_arn" {
  description = "Customer managed key of those secrets; null for the key of Secrets Manager"
  type        = string
  default     = null
}

variable "nats_url" {
  description = "Servers of the bus; empty announces on the event bus only"
  type        = string
  default     = ""
}

variable "credentials" {
  description = "Name of the secret with the variable SIGNING_KEY and those of nats.credentials; required with nats_url"
  type        = string
  default     = ""
}

variable "event_bus" {
  description = "Name of the event bus to announce on where NATS is not there; empty for none"
  type        = string
  default     = "default"
}

variable "watch_readers" {
  description = "Hear of every read of the secrets, one invocation for each; needs nats_url and a trail that records read events"
  type        = bool
  default     = false
}

variable "subnet_ids" {
  description = "Subnets from which the bus can be reached; empty for no VPC"
  type        = list(string)
  default     = []
}

variable "security_group_ids" {
  description = "Security groups of the function in that VPC"
  type        = list(string)
  default     = []
}

variable "alarm_topic_arns" {
  description = "Topics of SNS that hear of alarms"
  type        = list(string)
  default     = []
}

variable "log_retention_days" {
  description = "How long the log is kept"
  type        = number
  default     = 90
}

variable "timeout" {
  description = "Seconds that one step may take; several minutes with prepare-then-activate"
  type        = number
  default     = 60
}

variable "memory" {
  description = "Memory of the function in MiB"
  type        = number
  default     = 256
}

variable "reserved_concurrency" {
  description = "How many steps run at once at most; -1 for no limit of its own"
  type        = number
  default     = -1
}
