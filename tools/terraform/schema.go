package terraform

import "strings"

// body is what may stand in a block.
type body struct {
	required []string
	optional []string
	exports  []string        // what else can be referred to
	blocks   map[string]body // :: type of a nested block → what may stand in it
}

func words(s string) []string { return strings.Fields(s) }

var alarm = body{
	required: words("alarm_name comparison_operator evaluation_periods"),
	optional: words("alarm_description namespace metric_name statistic period threshold treat_missing_data alarm_actions dimensions"),
	exports:  words("arn id"),
}

// types are the resources and data sources that our modules may use, with the
// arguments of version 5 of the AWS provider.
var types = map[string]body{
	"resource.aws_cloudwatch_log_group": {required: words("name"), optional: words("retention_in_days kms_key_id"), exports: words("arn id")},
	"resource.aws_lambda_function": {
		required: words("function_name role"),
		optional: words("description filename source_code_hash runtime handler architectures memory_size timeout reserved_concurrent_executions"),
		exports:  words("arn id invoke_arn version"),
		blocks: map[string]body{
			"environment":        {optional: words("variables")},
			"dead_letter_config": {required: words("target_arn")},
			"logging_config":     {required: words("log_format"), optional: words("log_group application_log_level system_log_level")},
			"vpc_config":         {required: words("subnet_ids security_group_ids")},
		},
	},
	"resource.aws_lambda_permission": {
		required: words("action function_name principal"), optional: words("statement_id source_account source_arn"), exports: words("id"),
	},
	"resource.aws_sqs_queue":        {optional: words("name message_retention_seconds sqs_managed_sse_enabled"), exports: words("arn id url")},
	"resource.aws_sqs_queue_policy": {required: words("queue_url policy"), exports: words("id")},
	"resource.aws_iam_role":         {required: words("assume_role_policy"), optional: words("name"), exports: words("arn id unique_id")},
	"resource.aws_iam_role_policy":  {required: words("role policy"), optional: words("name"), exports: words("id")},
	"resource.aws_iam_role_policy_attachment": {
		required: words("role policy_arn"), exports: words("id"),
	},
	"resource.aws_cloudwatch_event_rule": {optional: words("name description event_pattern schedule_expression event_bus_name state"), exports: words("arn id")},
	"resource.aws_cloudwatch_event_target": {
		required: words("rule arn"), optional: words("target_id event_bus_name"), exports: words("id"),
		blocks: map[string]body{
			"retry_policy":       {optional: words("maximum_event_age_in_seconds maximum_retry_attempts")},
			"dead_letter_config": {optional: words("arn")},
		},
	},
	"resource.aws_cloudwatch_log_metric_filter": {
		required: words("name log_group_name pattern"), exports: words("id"),
		blocks: map[string]body{"metric_transformation": {required: words("namespace name value"), optional: words("default_value unit")}},
	},
	"resource.aws_cloudwatch_metric_alarm": alarm,

	"data.aws_caller_identity": {exports: words("account_id arn user_id")},
	"data.aws_partition":       {exports: words("partition dns_suffix")},
	"data.aws_region":          {exports: words("id name description")},
	"data.aws_iam_policy_document": {
		exports: words("json"),
		blocks: map[string]body{"statement": {
			optional: words("sid effect actions resources"),
			blocks: map[string]body{
				"principals": {required: words("type identifiers")},
				"condition":  {required: words("test variable values")},
			},
		}},
	},
}

// meta are the arguments that every resource has.
var meta = words("count for_each depends_on provider")

// functions are those of Terraform's functions that our modules may use.
var functions = words("concat contains filebase64sha256 jsonencode length")

// top are the other blocks of a file.
var top = map[string]body{
	"variable":  {optional: words("description type default sensitive nullable"), blocks: map[string]body{"validation": {required: words("condition error_message")}}},
	"output":    {required: words("value"), optional: words("description sensitive")},
	"terraform": {optional: words("required_version"), blocks: map[string]body{"required_providers": {optional: words("aws")}}},
}
