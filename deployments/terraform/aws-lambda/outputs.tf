output "function_arn" {
  description = "For RotateSecret, as its RotationLambdaARN"
  value       = aws_lambda_function.rotator.arn
}

output "dead_letters_url" {
  description = "The queue of events that were given up"
  value       = aws_sqs_queue.dead_letters.url
}
