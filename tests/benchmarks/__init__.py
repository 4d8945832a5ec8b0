"""`make bench`: what the service does in a second, beside what the same machine could do at that very moment.

    scale       how much of everything: the full run, and a tiny one for the suite
    dataset     what is in a database, and which questions are asked of it; filled by `filling`, kept by `databases`
    people      users with tokens, and conversations between them
    stage       what a run stands on: the cluster, the tenant, the service, and the apps it is compared with
    wrk, pgbench with statements, client_pool with client_pool_process
                the load: requests, the statements that the service runs, sockets
    interleaving, findings
                samples of several sides taken in turn, and what a row finds
    questions, rows
                what is asked, and the table's rows
    report, __main__
                the table, the JSON, the command

A bare figure says more of the machine, and of who else is at work there, than of the service. So each row is a ratio to
a reference that was measured in the same run, a sample of the one after a sample of the other.
"""
