//! `--progress`: what it shows of a running program, and when it shows nothing.

use crate::{Ended, run};

/// Runs a command in a terminal of 12 rows and 100 columns, which implements the control sequences that fifofs uses,
/// and prints the screens that it showed: each time it changed, and at last when the command has ended.
const TERMINAL: &str = r#"
cat > terminal.py <<'PYTHON'
import fcntl, os, pty, re, struct, sys, termios
ROWS, COLUMNS = 12, 100
pid, terminal = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    os.environ["TERM"] = "xterm"
    os.execvp("sh", ["sh", "-c", sys.argv[1]])
screen, row, column, saved, bottom, wraps = [""] * ROWS, 0, 0, (0, 0), ROWS, True
for number in range(ROWS):  # As after other commands.
    screen[number] = "old" if number < ROWS - 1 else ""
row, seen = ROWS - 1, []
def down():
    global row
    if row == bottom - 1: del screen[0]; screen.insert(bottom - 1, "")
    else: row = min(row + 1, ROWS - 1)
def show(character):
    global column
    if column == COLUMNS and wraps: down(); column = 0
    column = min(column, COLUMNS - 1)
    screen[row] = screen[row].ljust(column)[:column] + character + screen[row][column + 1:]
    column += 1
def obey(what):
    global row, column, saved, bottom, wraps
    if what == "\n": down()
    elif what == "\r": column = 0
    elif what == "\x1bD": down()
    elif what == "\x1b7": saved = row, column
    elif what == "\x1b8": row, column = saved
    elif what in ("\x1b[?7l", "\x1b[?7h"): wraps = what[-1] == "h"
    elif what == "\x1b[r": bottom, row, column = ROWS, 0, 0
    elif m := re.fullmatch("\x1b\\[1;(\\d+)r", what): bottom, row, column = int(m[1]), 0, 0
    elif m := re.fullmatch("\x1b\\[(\\d+)A", what): row = max(row - int(m[1]), 0)
    elif m := re.fullmatch("\x1b\\[(\\d+);1H", what): row, column = int(m[1]) - 1, 0
    elif what == "\x1b[2K": screen[row] = ""
    elif what == "\x1b[J": screen[row:] = [""] * (ROWS - row)
    elif what[0] == "\x1b": sys.exit(f"what is {what!r}?")
    else: show(what)
while True:
    try: came = os.read(terminal, 65536).decode()
    except OSError: break
    for what in re.findall("\x1b\\[[?0-9;]*[A-Za-z]|\x1b[^\\[]|[^\x1b]", came): obey(what)
    shown = "\n".join(screen)
    if not seen or seen[-1] != shown: seen.append(shown)
print("\n=====\n".join(seen))
sys.exit(f"the region is left at {bottom}" if bottom != ROWS else os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
PYTHON
in_terminal() { python3 terminal.py "$@"; }
"#;

#[test]
fn progress_is_shown_only_if_asked_for() {
    let ended = run(
        "run --progress -- sh -c 'head -c 3000000 /dev/zero > \"$1\"; sleep 1.2' sh {out} | wc -c",
    );
    ended
        .succeeded()
        .saying("fifofs: out: 2.86 MiB written; delivered when sh has exited (settled)\n")
        .saying("fifofs: out: whole, 2.86 MiB delivered in ")
        .printed("3000000\n");
    let silent = run("run --progress=auto -- sh -c 'echo x > \"$1\"' sh {out}").succeeded();
    assert_eq!(silent.stderr, "");
}

#[test]
fn each_output_is_shown_with_how_it_ended() {
    let script = "run --progress --to a.log=a --to b.zip=b --to c=- -- sh -c '
        echo a > \"$1\"; zip -q \"$2\" /etc/passwd; sleep 1.2; exit 3' sh {out:a.log} {out:b.zip} {out:c}";
    run(script)
        .with_status(3)
        .saying("fifofs: a.log: 2 B written, 2 B delivered, ")
        .saying("fifofs: b.zip: ")
        .saying(" written; delivered when sh has exited (settled)\n")
        .saying("fifofs: c: nothing written yet\n")
        .saying("fifofs: a.log: not passed on\n")
        .saying("fifofs: b.zip: not passed on\n")
        .saying("fifofs: c: missing\n");
}

#[test]
fn on_a_terminal_it_is_below_the_programs_output_and_leaves_nothing_there() {
    let script = format!(
        "{TERMINAL}
        in_terminal 'printf prompt; \"$FIFOFS\" run --progress --to a.log=- --to b=/dev/null -- sh -c \"
            printf partial >&2; sleep 0.5; echo \\ line >&2
            for i in 1 2 3; do echo \\$i; sleep 0.3; done > \\\"\\$1\\\"; echo b > \\\"\\$2\\\"
        \" sh {{out:a.log}} {{out:b}}; echo after'"
    );
    let ended = run(&script).succeeded();
    let stdout = String::from_utf8_lossy(&ended.stdout);
    let screens: Vec<&str> = stdout.split("\n=====\n").collect();
    let lines_of = |screen: &str| screen.lines().map(str::to_owned).collect::<Vec<_>>();
    let shown = screens.iter().map(|screen| lines_of(screen));
    let with_footer = shown.filter(|lines| lines.len() == 12 && lines[11].contains("] b: "));
    let with_footer: Vec<Vec<String>> = with_footer.collect();
    assert!(!with_footer.is_empty(), "{stdout}");
    for lines in &with_footer {
        assert!(lines[10].contains("] a.log: "), "{lines:#?}");
        assert!(
            !lines[..10].iter().any(|line| line.contains("[0:")),
            "{lines:#?}"
        );
    }
    let last = lines_of(screens[screens.len() - 1]);
    let last: Vec<&str> = last.iter().map(|line| line.trim_end()).collect();
    let from = last.iter().position(|line| *line == "promptpartial line");
    let from = from.unwrap_or_else(|| panic!("{last:#?}"));
    let [_, one, two, three, a, b, after] = last[from..last.len().min(from + 7)] else {
        panic!("{last:#?}")
    };
    assert_eq!([one, two, three, after], ["1", "2", "3", "after"]);
    assert!(a.starts_with("fifofs: a.log: whole, 6 B delivered in "));
    assert!(b.starts_with("fifofs: b: whole, 2 B delivered in "));
    let below = &last[from + 7..];
    assert!(below.iter().all(|line| line.is_empty()), "{last:#?}");
}

#[test]
fn on_a_terminal_messages_begin_a_line_whatever_the_program_left_there() {
    let script = format!(
        "{TERMINAL}
        in_terminal '\"$FIFOFS\" run --progress -o /dev/null -- sh -c \"
            echo whole >&2; echo x > \\\"\\$1\\\"; sleep 0.5; printf partial >&2\" sh {{out:a.txt}}
        \"$FIFOFS\" run -- sh -c \"echo begins >&2; printf cut >&2; exit 3\" sh {{out}}
        \"$FIFOFS\" run -o y -- sh -c \"echo x > \\\"\\$1\\\"; echo ends >&2; exit 3\" sh {{out}}'"
    );
    let ended = run(&script).with_status(3);
    let stdout = String::from_utf8_lossy(&ended.stdout);
    let last = stdout.rsplit("\n=====\n").next().expect("a screen");
    let lines = last.lines().map(str::trim_end);
    let lines: Vec<&str> = lines.filter(|line| !["old", ""].contains(line)).collect();
    assert!(
        lines[2].starts_with("fifofs: a.txt: whole, 2 B delivered in "),
        "{lines:#?}"
    );
    let expected = [
        "whole",
        "partial",
        lines[2],
        "begins",
        "cut",
        "fifofs: sh ended with status 3 and made no 'out'",
        "ends",
        "fifofs: y is left as it was: sh ended with status 3",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_terminal_that_cannot_keep_its_last_lines_apart_gets_whole_lines() {
    let script = format!(
        "{TERMINAL}
        in_terminal 'TERM=dumb \"$FIFOFS\" run --progress -- sh -c \"sleep 1.2; echo a > \\\"\\$1\\\"\" sh {{out}}'"
    );
    let ended = run(&script).succeeded();
    let stdout = String::from_utf8_lossy(&ended.stdout);
    let last = stdout.rsplit("\n=====\n").next().expect("a screen");
    let lines = last.lines().filter(|line| *line != "old");
    let lines: Vec<&str> = lines.map(str::trim_end).collect();
    assert_eq!(lines[0], "fifofs: out: nothing written yet");
    assert!(lines.contains(&"a"), "{lines:?}");
}
