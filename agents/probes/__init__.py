"""What is asked of patients, rewards and judges: attacks, audits, portrayal, agreement, realism."""
