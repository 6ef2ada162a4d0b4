"""Many files: Job → plan → (read → chain → write) per task → ledger → report."""
