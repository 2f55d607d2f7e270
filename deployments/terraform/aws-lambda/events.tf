# What changes secrets, for rotator to read them again. It needs the bus.
resource "aws_cloudwatch_event_rule" "secret_changes" {
  count = var.nats_url == "" ? 0 : 1

  name        = "${var.name}-secret-changes"
  description = "What changes secrets, for rotator to read them again"
  event_pattern = jsonencode({
    source = ["aws.secretsmanager"]
    detail = {
      "$or" = [
        { labelUpdated = ["AWSCURRENT"] },
        {
          eventSource = ["secretsmanager.amazonaws.com"]
          eventName = [
            "CancelRotateSecret",
            "CreateSecret",
            "DeleteSecret",
            "PutSecretValue",
            "RestoreSecret",
            "RotationAbandoned",
            "RotationFailed",
            "RotationStarted",
            "RotationSucceeded",
            "TagResource",
            "UntagResource",
            "UpdateSecret",
            "UpdateSecretVersionStage",
          ]
        },
      ]
    }
  })
}

resource "aws_cloudwatch_event_target" "rotator" {
  count = var.nats_url == "" ? 0 : 1

  rule      = aws_cloudwatch_event_rule.secret_changes[0].name
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

resource "aws_lambda_permission" "events" {
  count = var.nats_url == "" ? 0 : 1

  statement_id  = "EventsMayInvoke"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.rotator.function_name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.secret_changes[0].arn
}

resource "aws_sqs_queue_policy" "dead_letters" {
  count = var.nats_url == "" ? 0 : 1

  queue_url = aws_sqs_queue.dead_letters.id
  policy    = data.aws_iam_policy_document.dead_letters[0].json
}

data "aws_iam_policy_document" "dead_letters" {
  count = var.nats_url == "" ? 0 : 1

  statement {
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.dead_letters.arn]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = concat([aws_cloudwatch_event_rule.secret_changes[0].arn], aws_cloudwatch_event_rule.secret_reads[*].arn)
    }
  }
}
