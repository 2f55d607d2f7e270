locals {
  # What the log says loudly, and what the alarm on it tells people.
  logged = {
    announcement_lost = "A rotation is done and was not announced; the next sweep of a scheduler announces it"
    step_failed       = "A step of a rotation failed; Secrets Manager tries again, the log says which step and why"
  }
}

resource "aws_cloudwatch_log_metric_filter" "logged" {
  for_each = local.logged

  name           = "${var.name}-${each.key}"
  log_group_name = aws_cloudwatch_log_group.rotator.name
  pattern        = "{ $.msg = \"lambda.${each.key}\" }"

  metric_transformation {
    namespace     = "rotator"
    name          = "${var.name}-${each.key}"
    value         = "1"
    default_value = "0"
  }
}

resource "aws_cloudwatch_metric_alarm" "logged" {
  for_each = local.logged

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value
  namespace           = "rotator"
  metric_name         = "${var.name}-${each.key}"
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns
}

resource "aws_cloudwatch_metric_alarm" "errors" {
  alarm_name          = "${var.name}-errors"
  alarm_description   = "The function fails, also where it does not get as far as its own log"
  namespace           = "AWS/Lambda"
  metric_name         = "Errors"
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns

  dimensions = {
    FunctionName = aws_lambda_function.rotator.function_name
  }
}

resource "aws_cloudwatch_metric_alarm" "dead_letters" {
  alarm_name          = "${var.name}-dead-letters"
  alarm_description   = "An event was given up; the sweep of a scheduler finds what it was about"
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns

  dimensions = {
    QueueName = aws_sqs_queue.dead_letters.name
  }
}
