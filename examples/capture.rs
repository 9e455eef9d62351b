//! Captures the one line that `scripts/pipetest` writes to the path it is given, by FUSE.

use std::process::Command;

use fifofs::{Capture, Error};

fn main() -> Result<(), Error> {
    let capture = Capture::new("out.txt")?;
    let output = capture.run(Command::new("scripts/pipetest").arg(capture.path()))?;
    print!("{}", String::from_utf8_lossy(&output.bytes));
    std::process::exit(output.status.code().unwrap_or(1));
}
