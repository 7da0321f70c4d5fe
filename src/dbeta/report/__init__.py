"""What people see of results: the 12-lead picture and tables on the console."""
