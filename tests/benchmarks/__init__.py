"""`make bench`: what the service does in a second, beside what the same machine could do at that very moment.

A bare figure says more of the machine, and of who else is at work there, than of the service. So each row is a ratio to
a reference that was measured in the same run, a sample of the one after a sample of the other.
"""
