"""Sessions that were played, as the chats, pairs and tables that other trainers read."""
