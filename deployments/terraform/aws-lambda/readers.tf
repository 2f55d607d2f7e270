# Who reads secrets, for rotator to name those that report nothing. It needs the bus.
resource "aws_cloudwatch_event_rule" "secret_reads" {
  count = var.nats_url != "" && var.watch_readers ? 1 : 0

  name        = "${var.name}-secret-reads"
  description = "Who reads secrets, for rotator to name those that report nothing"
  state       = "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"
  event_pattern = jsonencode({
    source      = ["aws.secretsmanager"]
    detail-type = ["AWS API Call via CloudTrail"]
    detail = {
      eventSource = ["secretsmanager.amazonaws.com"]
      eventName   = ["GetSecretValue", "BatchGetSecretValue"]
      errorCode   = [{ exists = false }]
      # not the reads of the function itself
      "$or" = [
        { userIdentity = { sessionContext = { sessionIssuer = { arn = [{ "anything-but" = [aws_iam_role.rotator.arn] }] } } } },
        { userIdentity = { sessionContext = { sessionIssuer = { arn = [{ exists = false }] } } } },
      ]
    }
  })
}

resource "aws_cloudwatch_event_target" "reads" {
  count = length(aws_cloudwatch_event_rule.secret_reads)

  rule      = aws_cloudwatch_event_rule.secret_reads[0].name
  target_id = "rotator"
  arn       = aws_lambda_function.rotator.arn

  retry_policy {
    maximum_event_age_in_seconds = 3600
    maximum_retry_attempts       = 5
  }

  dead_letter_config {
    arn = aws_sqs_queue.dead_letters.arn
  }
}

resource "aws_lambda_permission" "reads" {
  count = length(aws_cloudwatch_event_rule.secret_reads)

  statement_id  = "ReadsMayInvoke"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.rotator.function_name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.secret_reads[0].arn
}
