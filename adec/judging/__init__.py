"""What scores a reply: verifiers, and the commands and code that they run confined."""
