"""What velocity keeps in registers: rates that decay, and places."""
