"""The pre-flight check: artifacts examined, judged by the rules and by a policy."""
