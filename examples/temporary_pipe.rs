//! Captures the one line that `scripts/pipetest` writes to the path it is given, by a plain FIFO.

use std::process::Command;

use fifofs::{Error, TemporaryPipe};

fn main() -> Result<(), Error> {
    let pipe = TemporaryPipe::new()?;
    let output = pipe.run(Command::new("scripts/pipetest").arg(pipe.path()))?;
    print!("{}", String::from_utf8_lossy(&output.bytes));
    Ok(())
}
