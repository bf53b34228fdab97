"""What a waiting /sync is made of: who waits for what, and how an answer is built."""
