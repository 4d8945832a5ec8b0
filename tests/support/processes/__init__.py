"""Server processes that tests start. Each ends with the test process, even if that is killed."""

import threading


def tied(command: list[str]) -> list[str]:
    """Let the kernel send SIGTERM to the process when this one ends, however that happens.

    The signal is tied to the thread that starts the process (prctl(2)), so a command of another thread stays as it is.
    """
    is_main = threading.current_thread() is threading.main_thread()
    return ["setpriv", "--pdeathsig=TERM", "--", *command] if is_main else command
