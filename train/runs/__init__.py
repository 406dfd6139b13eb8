"""What a training run leaves behind: its folder, its best policy, its validations, its card, its export."""
