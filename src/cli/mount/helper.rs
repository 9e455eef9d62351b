//! Translates the command lines of mount(8) and fstab to that of `fifofs mount`.
//!
//! mount(8) starts `mount.fifofs SOURCE DIR [-sfnv] [-t TYPE] [-o OPTIONS]` (its "External helpers"), and
//! the helper of libfuse, for `-t fuse.fifofs`, `fifofs SOURCE DIR -o OPTIONS`. Knows how options are
//! written there and which are not for fifofs; the command knows what its own mean.

use std::ffi::OsString;
use std::path::Path;

use clap::{Command, CommandFactory};
use fifofs::{Error, Result};

use crate::cli::status;

/// Options for mount(8), systemd or the kernel's other filesystems, without effect here: mount(8),
/// "Filesystem-independent mount options".
const IGNORED: [&str; 36] = [
    "",
    "defaults",
    "rw",
    "auto",
    "noauto",
    "user",
    "nouser",
    "users",
    "owner",
    "group",
    "nofail",
    "_netdev",
    "dev",
    "nodev",
    "suid",
    "nosuid",
    "exec",
    "async",
    "sync",
    "dirsync",
    "atime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "lazytime",
    "nolazytime",
    "iversion",
    "noiversion",
    "mand",
    "nomand",
    "silent",
    "loud",
    "default_permissions",
];

/// Prefixes of such options, before a value or the rest of a name.
const IGNORED_PREFIXES: [&str; 5] = ["x-", "X-", "comment=", "user=", "fstype="];

/// Options that the kernel implements, see `MountBuilder::kernel_option`.
const KERNEL_OPTIONS: [&str; 3] = ["ro", "noexec", "noatime"];

/// The process that started this one, and whose exit statuses it expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    User,
    /// mount(8), or a program that mounts in the same way.
    Mount,
}

impl Caller {
    /// The exit status for this caller that corresponds to `status` for users.
    pub(crate) fn status(self, status: u8, is_usage: bool) -> u8 {
        // mount(8), "Exit status": for wrong usage, and for a failed mount.
        match self {
            Caller::Mount if status == status::FAILED && is_usage => 1,
            Caller::Mount if status == status::FAILED => 32,
            _ => status,
        }
    }
}

/// The caller, and the command line with `-o OPTIONS` translated to options of `fifofs mount`.
///
/// # Errors
///
/// [`Error::Usage`] that names an unknown option.
pub(crate) fn translate<C: CommandFactory>(
    words: Vec<OsString>,
) -> (Caller, Result<Vec<OsString>>) {
    if is_helper(&words) || is_from_libfuse::<C>(&words) {
        let call = HelperCall::parse(words);
        return (Caller::Mount, call.and_then(HelperCall::translated::<C>));
    }
    let words = match words.get(1).is_some_and(|word| word == "mount") {
        true => with_options::<C>(words),
        false => Ok(words),
    };
    (Caller::User, words)
}

/// The same for `fifofs mount` with `-o OPTIONS`, in any spelling. Translated options come before all
/// others.
fn with_options<C: CommandFactory>(mut words: Vec<OsString>) -> Result<Vec<OsString>> {
    // The final parse reports what is wrong with them.
    let Ok(matches) = C::command().try_get_matches_from(&words) else {
        return Ok(words);
    };
    let matches = matches.subcommand_matches("mount");
    let given = matches.and_then(|mount| mount.get_many::<OsString>("options"));
    let mut translated = Vec::new();
    for options in given.into_iter().flatten() {
        translated.extend(options_of::<C>(options, false)?);
    }
    words.splice(2..2, translated);
    Ok(words)
}

/// Whether it was called as `mount.fifofs` or `mount.fuse.fifofs`.
fn is_helper(words: &[OsString]) -> bool {
    let name = words.first().map(Path::new).and_then(Path::file_name);
    name.is_some_and(|name| name.to_string_lossy().starts_with("mount."))
}

/// A call of the helper by mount(8).
struct HelperCall {
    program: OsString,
    source: OsString,
    directory: OsString,
    options: Vec<OsString>,
    /// Unknown options are ignored.
    is_sloppy: bool,
    /// Nothing is mounted.
    is_fake: bool,
}

impl HelperCall {
    fn parse(words: Vec<OsString>) -> Result<Self> {
        let mut call = HelperCall {
            program: words[0].clone(),
            source: OsString::new(),
            directory: OsString::new(),
            options: Vec::new(),
            is_sloppy: false,
            is_fake: false,
        };
        let mut names = Vec::new();
        let mut rest = words.iter().skip(1);
        while let Some(word) = rest.next() {
            match word.to_str() {
                Some("-o") => {
                    let options = rest.next().ok_or_else(|| usage("-o needs options"))?;
                    call.options.push(options.clone());
                }
                Some("-t") => drop(rest.next()),
                Some(word) if word.starts_with("-o") => call.options.push(word[2..].into()),
                Some(flags) if flags.len() > 1 && flags.starts_with('-') => {
                    for flag in flags.chars().skip(1) {
                        match flag {
                            's' => call.is_sloppy = true,
                            'f' => call.is_fake = true,
                            'r' => call.options.push("ro".into()),
                            'n' | 'v' | 'w' => {}
                            _ => return Err(usage(&format!("unknown option {flags}"))),
                        }
                    }
                }
                _ => names.push(word.clone()),
            }
        }
        match <[OsString; 2]>::try_from(names) {
            Ok([source, directory]) => {
                (call.source, call.directory) = (source, directory);
                Ok(call)
            }
            Err(_) => Err(usage("a source and a directory are needed")),
        }
    }

    fn translated<C: CommandFactory>(self) -> Result<Vec<OsString>> {
        let mut words = vec![self.program, "mount".into(), "--daemon".into()];
        if self.is_fake {
            words.push("--fake".into());
        }
        for options in &self.options {
            words.extend(options_of::<C>(options, self.is_sloppy)?);
        }
        words.extend(["--source".into(), self.source, "--".into(), self.directory]);
        Ok(words)
    }
}

fn usage(what: &str) -> Error {
    Error::usage(format!(
        "{what}; usage: mount.fifofs SOURCE DIR [-sfnv] [-o OPT[,OPT]...]"
    ))
}

/// Whether it is `fifofs SOURCE DIR -o OPTIONS`, with which no other command line can be confused.
fn is_from_libfuse<C: CommandFactory>(words: &[OsString]) -> bool {
    let [_, source, directory, option, options] = words else {
        return false;
    };
    // With the options that mount(8) puts first, the directory need not exist yet.
    let options = options.to_string_lossy();
    let is_of_mount = ["rw", "ro"].contains(&options.split(',').next().unwrap_or_default());
    option == "-o"
        && (is_of_mount || Path::new(directory).is_dir())
        && C::command().find_subcommand(source).is_none()
}

/// Translates options separated by commas to options of the command.
fn options_of<C: CommandFactory>(text: &OsString, is_sloppy: bool) -> Result<Vec<OsString>> {
    let text = text
        .to_str()
        .ok_or_else(|| usage("the options are no UTF-8"))?;
    let commands = C::command();
    let command = commands.find_subcommand("mount");
    let mut words = Vec::new();
    for option in split(text) {
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (&*option, None),
        };
        let is_ignored = IGNORED.contains(&&*option)
            || IGNORED_PREFIXES
                .iter()
                .any(|prefix| option.starts_with(prefix));
        if KERNEL_OPTIONS.contains(&&*option) {
            words.push(format!("--kernel-option={option}").into());
        } else if let Some(name) = command.and_then(|command| own(command, name, value.is_some())) {
            words.push(match value {
                Some(value) => format!("--{name}={value}").into(),
                None => format!("--{name}").into(),
            });
        } else if !is_ignored && !is_sloppy {
            if option == "remount" {
                return Err(Error::usage(
                    "a mount of fifofs cannot be changed (remount); unmount it, and mount again",
                ));
            }
            let what = match command.and_then(|command| own(command, name, value.is_none())) {
                Some(_) if value.is_none() => format!("mount option '{name}' needs a value"),
                Some(_) => format!("mount option '{name}' takes no value"),
                None => format!("unknown mount option '{option}'"),
            };
            // Perhaps the rest of a glob that was cut at a comma.
            let hint = match option.contains(['}', '*', '[']) {
                true => "; a comma in a glob has a backslash before it",
                false => "",
            };
            return Err(Error::usage(format!(
                "{what}; use options of `fifofs mount --help` without --, as in \
                 deliver=settled,allow_other, or those that mount(8) has for every file system{hint}"
            )));
        }
    }
    Ok(words)
}

/// The command's option of this name, if it has one with, or without, a value.
fn own(command: &Command, name: &str, has_value: bool) -> Option<String> {
    let name = name.replace('_', "-");
    let mut options = command
        .get_arguments()
        .filter(|option| !option.is_hide_set());
    let option = options.find(|option| option.get_long() == Some(&name))?;
    (option.get_action().takes_values() == has_value).then_some(name)
}

/// Splits at commas, except after a backslash, as libfuse does, and between double quotes, as mount(8) does.
/// Removes the quotes, and a backslash before a comma or another backslash.
fn split(text: &str) -> Vec<String> {
    let mut options = vec![String::new()];
    let mut is_quoted = false;
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        let Some(last) = options.last_mut() else {
            break;
        };
        match character {
            '\\' => match rest.next_if(|next| ",\\\"".contains(*next)) {
                Some(next) => last.push(next),
                None => last.push('\\'),
            },
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => options.push(String::new()),
            _ => last.push(character),
        }
    }
    options
}

#[cfg(test)]
mod tests {
    use clap::{Parser, Subcommand};

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(subcommand)]
        _command: Sub,
    }

    #[derive(Subcommand)]
    enum Sub {
        Mount(crate::cli::mount::Arguments),
        Run(crate::cli::run::Arguments),
    }

    fn translated(words: &[&str]) -> Result<(String, Caller)> {
        let words = words.iter().map(OsString::from).collect();
        let (caller, words) = translate::<Cli>(words);
        let words = words?;
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        Ok((words.join(" "), caller))
    }

    #[test]
    fn command_lines_of_mount_and_libfuse_are_translated() {
        let options =
            "deliver=settled,allow_other,x-systemd.automount,dev,suid,noauto,nofail,_netdev";
        let expected = "mount --daemon --deliver=settled --allow-other --source none -- /tmp";
        for words in [
            &["fifofs", "none", "/tmp", "-o", options][..],
            &["/sbin/mount.fifofs", "none", "/tmp", "-n", "-o", options],
            &[
                "mount.fuse.fifofs",
                "none",
                "/tmp",
                "-t",
                "fuse.fifofs",
                "-o",
                options,
            ],
        ] {
            let expected = format!("{} {expected}", words[0]);
            assert_eq!(
                translated(words).expect("a command"),
                (expected, Caller::Mount)
            );
        }
        // As mount(8) calls it for a missing directory.
        let missing = translated(&["fifofs", "none", "/nosuch", "-o", "rw,dev,suid"]);
        assert_eq!(
            missing.expect("a command").0,
            "fifofs mount --daemon --source none -- /nosuch"
        );
        let sloppy = translated(&["mount.fifofs", "a,b", "/d", "-sf", "-o", "x,noexec"]);
        assert_eq!(
            sloppy.expect("a command").0,
            "mount.fifofs mount --daemon --fake --kernel-option=noexec --source a,b -- /d"
        );
        let own = translated(&["fifofs", "mount", "-o", "window=1M,fail-on=never", "d"]);
        let expected = "fifofs mount --window=1M --fail-on=never -o window=1M,fail-on=never d";
        assert_eq!(own.expect("a command"), (expected.into(), Caller::User));
        let read_only = "mount.fifofs mount --daemon --kernel-option=ro --source a -- /d";
        for options in [&["-r"][..], &["-oro"], &["-o", "ro"], &["-nrv"]] {
            let words = [&["mount.fifofs", "a", "/d"], options].concat();
            assert_eq!(translated(&words).expect("a command").0, read_only);
        }
    }

    #[test]
    fn options_count_however_they_are_written() {
        for words in [
            &["mount", "-o", "ro", "d"][..],
            &["mount", "-oro", "d"],
            &["mount", "-o=ro", "d"],
            &["mount", "-do", "ro", "d"],
            &["mount", "d", "-o", "ro"],
        ] {
            let given = [&["fifofs"], words].concat();
            let expected = format!("fifofs mount --kernel-option=ro {}", words[1..].join(" "));
            assert_eq!(translated(&given).expect("a command").0, expected);
        }
        // The final parse reports every other error.
        for words in [
            &["fifofs", "mount", "--", "-o"][..],
            &["fifofs", "mount", "d", "-o"],
            &["fifofs", "mount", "--nosuch", "-o", "ro"],
        ] {
            assert_eq!(translated(words).expect("a command").0, words.join(" "));
        }
    }

    #[test]
    fn other_commands_stay_as_they_are() {
        for words in [
            &["fifofs", "run", "-o", "x", "--", "sort", "-o", "{out}"][..],
            &["fifofs", "run", "/tmp", "-o", "x"],
            &["fifofs", "none", "/nosuch", "-o", "x"],
            &["fifofs", "none", "/tmp"],
            &["fifofs", "mount", "d"],
            &["fifofs"],
        ] {
            let same = (words.join(" "), Caller::User);
            assert_eq!(translated(words).expect("a command"), same);
        }
    }

    #[test]
    fn an_unknown_option_is_refused_by_name() {
        for (options, said) in [
            (
                "deliver=settled,unknown=1",
                "unknown mount option 'unknown=1'",
            ),
            ("remount", "a mount of fifofs cannot be changed (remount)"),
            (
                "daemon,kernel_option=x",
                "unknown mount option 'kernel_option=x'",
            ),
            ("deliver", "mount option 'deliver' needs a value"),
            ("allow_other=1", "mount option 'allow_other' takes no value"),
        ] {
            let error = translated(&["mount.fifofs", "none", "/d", "-o", options]);
            let error = error.expect_err(options).to_string();
            assert!(error.contains(said), "{error}");
        }
        for words in [
            &["mount.fifofs", "/d"][..],
            &["mount.fifofs", "a", "/d", "-o"],
        ] {
            let error = translated(words).expect_err("an error").to_string();
            assert!(error.contains("mount.fifofs SOURCE DIR"), "{error}");
        }
    }

    #[test]
    fn commas_are_kept_as_in_fstab_and_mount() {
        assert_eq!(split("a,b=c"), ["a", "b=c"]);
        assert_eq!(
            split(r"deliver=*.{a\,b}=settled,x"),
            ["deliver=*.{a,b}=settled", "x"]
        );
        assert_eq!(
            split(r#"deliver="*.{a,b}=settled",x"#),
            ["deliver=*.{a,b}=settled", "x"]
        );
        assert_eq!(split(r"deliver=\*\\.a"), [r"deliver=\*\.a"]);
        assert_eq!(split(""), [""]);
    }
}
