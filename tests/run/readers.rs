//! If the reader of standard output has read enough, the program ends, as in any pipeline.

use crate::{Ended, YES, run};

#[test]
fn a_reader_that_has_enough_ends_the_program() {
    run(&format!(
        "run -- {YES} | head -n 1; echo ${{PIPESTATUS[0]}}"
    ))
    .succeeded()
    .printed("line\n141\n");
}

#[test]
fn a_reader_that_has_enough_ends_a_program_that_does_not_write() {
    run("run -- sh -c 'exec sleep 600' sh {out} | true; echo ${PIPESTATUS[0]}").printed("141\n");
}

#[test]
fn a_program_that_ignores_sigpipe_gets_an_error_when_it_writes_and_has_its_status() {
    run(r#"run -- $PYTHON -c '
import errno, os, signal, sys
signal.signal(signal.SIGPIPE, signal.SIG_IGN)
output = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o666)
try:
    while True: os.write(output, b"line\n" * 1000)
except OSError as error:
    sys.exit(9 if error.errno == errno.EPIPE else 1)' {out:x.txt} | head -n 1; echo ${PIPESTATUS[0]}"#)
        .printed("line\n9\n");
}

#[test]
fn a_program_that_comes_to_write_after_its_reader_has_gone_gets_an_error() {
    for options in ["", "--deliver stream"] {
        run(&format!(
            r#"run {options} -- bash -c 'trap "" PIPE; echo > "$F/ready"; until [ -e "$F/go" ]; do sleep 0.01; done
            head -c 3000000 /dev/zero > "$1"' sh {{out:x.txt}} | {{ await ready; {{ exec <&-; sleep 0.3; raise go; }} & }}; echo ${{PIPESTATUS[0]}}"#
        ))
        .saying("Broken pipe")
        .printed("1\n");
    }
}
