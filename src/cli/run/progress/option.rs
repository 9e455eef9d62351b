//! Lets the value of `--progress` be a word of its own.
//!
//! Knows how options and their values are written in a command line; knows nothing of their meaning.

use std::ffi::OsString;

use clap::{CommandFactory, ValueEnum};

use super::When;

/// The option whose value may also be a word of its own.
const OPTION: &str = "--progress";

/// The command line with the value of `--progress` after a `=`. Otherwise the parser would take
/// either `never` for the program to run, or any program for a value.
pub(in crate::cli) fn with_equals<C: CommandFactory>(mut words: Vec<OsString>) -> Vec<OsString> {
    if !words.iter().any(|word| word == OPTION) {
        return words;
    }
    let Some(name) = words.get(1).and_then(|word| word.to_str()) else {
        return words;
    };
    let command = C::command();
    let Some(command) = command.find_subcommand(name) else {
        return words;
    };
    let mut at = 2;
    while let Some(word) = words.get(at).and_then(|word| word.to_str()) {
        let is_option = word.starts_with('-') && word != "-" && word != "--";
        if !is_option {
            break;
        }
        let takes_next = takes_next(command, word);
        let value = words.get(at + 1).and_then(|word| word.to_str());
        if word == OPTION && value.is_some_and(|value| When::from_str(value, false).is_ok()) {
            let value = words.remove(at + 1);
            words[at].push("=");
            words[at].push(value);
        }
        at += 1 + usize::from(takes_next);
    }
    words
}

/// Whether the option's value is the next word.
fn takes_next(command: &clap::Command, word: &str) -> bool {
    let takes = |argument: &clap::Arg| {
        argument.get_action().takes_values() && !argument.is_require_equals_set()
    };
    if let Some(long) = word.strip_prefix("--") {
        let mut arguments = command.get_arguments();
        return arguments.any(|argument| argument.get_long() == Some(long) && takes(argument));
    }
    let find = |letter| {
        let mut arguments = command.get_arguments();
        arguments.find(|argument| argument.get_short() == Some(letter))
    };
    // Of several letters in one word, the first that takes a value gets the rest of the word, if
    // there is any.
    let letters = word.chars().skip(1);
    let mut rest = letters.skip_while(|letter| !find(*letter).is_some_and(takes));
    rest.next().is_some() && rest.next().is_none()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    enum Command {
        Run(crate::cli::run::Arguments),
    }

    #[test]
    fn the_value_may_be_a_word_of_its_own_and_the_program_is_none() {
        let joined = |line: &str| {
            let words = line.split(' ').map(OsString::from).collect();
            let words = with_equals::<Command>(words);
            words.join(" ".as_ref()).into_string().expect("UTF-8")
        };
        for (line, expected) in [
            ("f run --progress never -- p", "f run --progress=never -- p"),
            ("f run --progress auto p x", "f run --progress=auto p x"),
            ("f run --progress -- auto", "f run --progress -- auto"),
            ("f run --progress zip x", "f run --progress zip x"),
            ("f run p --progress never", "f run p --progress never"),
            ("f run -- p --progress never", "f run -- p --progress never"),
            (
                "f run -o --progress --tar --progress always p",
                "f run -o --progress --tar --progress=always p",
            ),
            (
                "f run --window 1M -oout --progress never p",
                "f run --window 1M -oout --progress=never p",
            ),
        ] {
            assert_eq!(joined(line), expected);
        }
    }
}
