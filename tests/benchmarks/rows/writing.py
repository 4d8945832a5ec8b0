"""Writing over HTTP, beside PostgreSQL."""

from tests.benchmarks import questions
from tests.benchmarks.findings import Finding, share_of, tail
from tests.benchmarks.people import begin_conversations
from tests.benchmarks.rows.comparing import compare, http, pgbench
from tests.benchmarks.stage import Stage
from tests.benchmarks.statements import add_message


def send_message(stage: Stage) -> list[Finding]:
    """Sending a message by REST, in many conversations"""
    data = stage.medium
    service, people = stage.service(data), stage.people(data)
    statement = add_message(begin_conversations(stage.cluster, data.database, len(people)))
    ours, postgres = compare(stage, http(stage, service, questions.messages(people)), pgbench(stage, [statement]))
    what = "sending a message by REST"
    return [
        share_of(what, ours, "pgbench, the same transaction", postgres, at_least=0.38),
        tail(what, ours, at_most=3),
    ]
