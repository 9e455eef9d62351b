//! The library: what a program writes to a captured path comes to this process.

use std::process::Command;

use fifofs::{Backend, Target};

fn sh(script: &str, target: &dyn Target) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(target.path());
    command
}

#[test]
fn one_line_by_either_backend() {
    for backend in [Backend::Fuse, Backend::Fifo] {
        let target = backend.target("out.txt").unwrap();
        let output = target
            .run(Command::new("scripts/pipetest").arg(target.path()))
            .unwrap();
        assert!(output.status.success());
        assert_eq!(output.bytes, b"hello\n");
    }
}

#[test]
fn several_openings_are_one_output() {
    for backend in [Backend::Fuse, Backend::Fifo] {
        let target = backend.target("out.txt").unwrap();
        let script = r#"echo a > "$1"; sleep 0.3; echo b >> "$1""#;
        let output = target.run(&mut sh(script, &*target)).unwrap();
        assert_eq!(output.bytes, b"a\nb\n");
    }
}
