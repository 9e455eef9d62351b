//! `fifofs doctor`, `completions` and `man`.

#![cfg(feature = "cli")]

mod common;

use std::ffi::OsStr;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use common::{FIFOFS, Place, SOON, needs, needs_root};

#[test]
fn doctor_finds_nothing_bad_where_these_tests_can_run() {
    let place = Place::new();
    let finished = place.fifofs(&["doctor"]).finish(SOON).succeeded();
    let text = finished.text();
    for line in [
        "ok    FUSE device",
        "ok    capture by FUSE",
        "ok    capture by FIFO",
    ] {
        assert!(text.contains(line), "{text}");
    }
    place.assert_nothing_left();
}

#[test]
fn doctor_says_what_to_do_where_there_is_no_device() {
    needs_root();
    needs(&[("unshare", "util-linux")]);
    let place = Place::new();
    let text = place
        .shell(
            "unshare -m bash -c 'mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && exec $FIFOFS doctor'
            echo $?",
        )
        .finish(SOON)
        .text();
    for words in [
        "BAD   FUSE device: /dev/fuse: No such file or directory",
        "modprobe fuse",
        "ok    capture by FIFO",
        "\n125\n",
    ] {
        assert!(text.contains(words), "{text}");
    }
    place.assert_nothing_left();
}

#[test]
fn completions_and_manual_know_every_command() {
    let place = Place::new();
    let commands = [
        "mount",
        "run",
        "exec",
        "explain",
        "cat",
        "ls",
        "unmount",
        "doctor",
        "completions",
        "man",
    ];
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let completions = place
            .fifofs(&["completions", shell])
            .finish(SOON)
            .succeeded();
        for command in commands {
            assert!(completions.text().contains(command), "{shell}: {command}");
        }
    }
    let manual = place.fifofs(&["man"]).finish(SOON).succeeded();
    for command in commands {
        let title = format!(".TH FIFOFS-{} 1", command.to_uppercase());
        assert!(manual.text().contains(&title), "{title}");
    }
    let pages = place.at("pages");
    place
        .fifofs(&["man", "--dir", pages.to_str().expect("UTF-8")])
        .finish(SOON)
        .succeeded();
    let names = commands.map(|command| format!("fifofs-{command}.1"));
    for name in names.into_iter().chain(["fifofs.1".to_owned()]) {
        let page = std::fs::read_to_string(pages.join(&name)).expect("a page");
        for section in [
            "EXAMPLES",
            "EXIT STATUS",
            "ENVIRONMENT",
            "FILES",
            "SEE ALSO",
        ] {
            assert!(page.contains(section), "{name}: {section}");
        }
        assert!(
            !page.contains(".SH EXAMPLES\n.nf\n.fi"),
            "{name}: no example"
        );
    }
    let page = std::fs::read_to_string(pages.join("fifofs.7")).expect("a page");
    for word in [
        "stream", "follow", "settled", "auto", "crash", "signal", "status", "never", "wait/",
        "pipe/", "next/", "pid/", "SEE ALSO",
    ] {
        assert!(page.contains(word), "fifofs.7: {word}");
    }
}

#[test]
fn neither_groff_nor_mandoc_warns_about_the_manual() {
    needs(&[("groff", "groff-base"), ("mandoc", "mandoc")]);
    let place = Place::new();
    let pages = place.at("pages");
    place
        .fifofs(&["man", "--dir", pages.to_str().expect("UTF-8")])
        .finish(SOON)
        .succeeded();
    let pages = std::fs::read_dir(pages).expect("pages");
    let pages: Vec<PathBuf> = pages.map(|page| page.expect("a page").path()).collect();
    assert!(pages.len() > 10, "{pages:?}");
    for page in pages {
        let said_by = |program: &str, options: &[&str]| {
            let done = Command::new(program).args(options).arg(&page).output();
            let done = done.expect("started");
            String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned()
        };
        assert_eq!(said_by("groff", &["-ww", "-man", "-Tutf8", "-z"]), "");
        let said = said_by("mandoc", &["-Tlint", "-W", "warning"]);
        // A page is the same in every build, so it has no date.
        let said = said.lines().filter(|line| !line.contains("missing date"));
        assert_eq!(said.collect::<Vec<_>>(), [""; 0]);
    }
}

/// The long help explains the words of an option; the short one lists them.
#[test]
fn help_explains_the_delivery_modes() {
    let place = Place::new();
    for command in ["run", "mount"] {
        let help = |option| place.fifofs(&[command, option]).finish(SOON).succeeded();
        let (short, long) = (help("-h"), help("--help"));
        let ways = ["auto", "stream", "follow", "settled"];
        assert!(
            short.text().replace('\n', " ").contains("possible"),
            "{}",
            short.text()
        );
        for way in ways {
            let line = format!("- {way}:");
            assert!(long.text().contains(&line), "{command}: {line}");
            assert!(!short.text().contains(&line), "{command}: {line}");
        }
    }
}

/// A directory with one program, `zipnote`.
fn with_zipnote() -> (Arc<Place>, PathBuf) {
    let place = Place::new();
    let directory = place.at("only");
    std::fs::create_dir(&directory).expect("made");
    let program = directory.join("zipnote");
    std::fs::write(&program, "#!/bin/sh\n").expect("written");
    std::fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("executable");
    (place, directory)
}

/// The output of the script, within half a minute, without blanks at its ends.
fn printed_by(shell: &str, options: &[&str], script: &str, arguments: &[&OsStr]) -> String {
    let mut command = Command::new("timeout");
    command.args(["30", shell]);
    command.args(options).args(["-c", script]).args(arguments);
    let done = command.output().expect("started");
    assert!(done.stderr.is_empty(), "{done:?}");
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

/// bash does not give the generated script's function what it needs for either.
#[test]
fn bash_completes_commands_after_dashes_and_values() {
    let (_place, directory) = with_zipnote();
    let complete = |words: &str, before: &str| {
        let script = format!(
            "source <(\"$0\" completions bash); PATH=$1; COMP_WORDS=({words})
             COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
             set -- $(complete -p fifofs); while [ \"$1\" != -F ]; do shift; done
             \"$2\" fifofs \"${{COMP_WORDS[-1]}}\" '{before}'; echo \"${{COMPREPLY[@]}}\""
        );
        let arguments = [FIFOFS.as_ref(), directory.as_os_str()];
        printed_by("bash", &["--norc"], &script, &arguments)
    };
    assert_eq!(complete("fifofs run -- zipn", "--"), "zipnote");
    assert_eq!(complete("fifofs exec -- zipn", "--"), "zipnote");
    assert_eq!(complete("fifofs explain --json -- zipn", "--"), "zipnote");
    assert_eq!(complete("fifofs run --del", "run"), "--deliver");
    assert_eq!(complete("fifofs run --deliver se", "--deliver"), "settled");
    assert_eq!(complete("fifofs run --progress = al", "="), "always");
    assert_eq!(complete("fifofs mount --linger e", "--linger"), "exit");
    // Then bash offers file names.
    assert_eq!(complete("fifofs unmount ''", "unmount"), "");
    assert_eq!(
        complete("fifofs unmount -", "unmount"),
        "-l -f -h --lazy --force --help"
    );
    assert_eq!(
        complete("fifofs completions ''", "completions"),
        "bash elvish fish powershell zsh"
    );
}

#[test]
fn fish_completes_commands_after_dashes_and_values() {
    let (place, directory) = with_zipnote();
    let complete = |words: &str| {
        let script = format!(
            "set -x HOME $argv[3]; $argv[1] completions fish | source; set -x PATH $argv[2]
             for found in (complete -C '{words}'); string split -f 1 \\t -- $found; end"
        );
        let home = place.at("plain");
        let arguments = [FIFOFS.as_ref(), directory.as_os_str(), home.as_os_str()];
        printed_by("fish", &["--no-config"], &script, &arguments)
    };
    assert_eq!(complete("fifofs run -- zipn"), "zipnote");
    assert_eq!(complete("fifofs exec -- zipn"), "zipnote");
    assert_eq!(complete("fifofs explain --json -- zipn"), "zipnote");
    assert_eq!(complete("fifofs run --del"), "--deliver");
    assert_eq!(complete("fifofs run --deliver se"), "settled");
    assert_eq!(complete("fifofs run --progress=al"), "--progress=always");
    assert_eq!(complete("fifofs mount --linger e"), "exit");
    assert_eq!(complete("fifofs completions z"), "zsh");
}

/// zsh completes on a terminal only: `zsh/zpty` is one.
#[test]
fn zsh_completes_commands_after_dashes_and_values() {
    let (_place, directory) = with_zipnote();
    let complete = |words: &str| {
        // A completion ends with a key that prints the line as it is then.
        let script = format!(
            r#"zmodload zsh/zpty; fifofs=$1; directory=$2
            zpty shell zsh -f -i
            tell() {{ zpty -w -n shell "$1" }}
            tell "PS1=; autoload -Uz compinit; compinit -u -D; source <($fifofs completions zsh)"$'\n'
            tell "PATH=$directory"$'\n'
            tell "show() {{ print -r -- \"it is \$BUFFER, no more\"; BUFFER= }}"$'\n'
            tell "zle -N show; bindkey '^T' show; print -r -- rea''dy"$'\n'
            zpty -r shell said '*ready*'
            tell '{words}'$'\t\x14'
            zpty -r shell said '*it is *, no more*'
            said=${{said##*it is }}; print -r -- "${{said%%, no more*}}"
            zpty -d shell"#
        );
        let arguments = ["zsh".as_ref(), FIFOFS.as_ref(), directory.as_os_str()];
        printed_by("zsh", &["-f"], &script, &arguments)
    };
    assert_eq!(complete("fifofs run -- zipn"), "fifofs run -- zipnote");
    assert_eq!(complete("fifofs exec -- zipn"), "fifofs exec -- zipnote");
    assert_eq!(complete("fifofs run --del"), "fifofs run --deliver=");
    assert_eq!(
        complete("fifofs run --deliver se"),
        "fifofs run --deliver settled"
    );
    assert_eq!(
        complete("fifofs run --progress=al"),
        "fifofs run --progress=always"
    );
}

/// A shell must not offer what help does not show.
#[test]
fn completions_offer_nothing_that_is_hidden() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = place
            .fifofs(&["completions", shell])
            .finish(SOON)
            .succeeded();
        let script = script.text();
        assert!(script.contains("allow-other"), "{shell}: {script}");
        for hidden in ["try-mount", "clear-dead", "kernel-option", "fake"] {
            assert!(!script.contains(hidden), "{shell}: {hidden}");
        }
    }
}
