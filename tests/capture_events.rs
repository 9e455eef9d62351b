//! Events of a captured file.

mod library;

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use fifofs::{Capture, CaptureEvents, Deliver, Error, Event, FileState, Mount, Status, Way};

use library::{SOON, sh, within};

/// All events up to the first that ends the file.
fn all(mut events: CaptureEvents) -> Vec<Event> {
    within(SOON, "the events of a capture", move || {
        events.set_timeout(Some(SOON / 2));
        let mut seen = Vec::new();
        for event in &mut events {
            let event = event.unwrap_or_else(|error| panic!("{error} after {seen:?}"));
            let is_last = matches!(event, Event::Done { .. } | Event::Failed { .. });
            seen.push(event);
            if is_last {
                break;
            }
        }
        seen
    })
}

/// Whether they end with a done file of this length.
fn is_done(seen: &[Event], length: u64) -> bool {
    matches!(seen.last(), Some(Event::Done { bytes, .. }) if *bytes == length)
}

fn of_script(name: &str, script: &str) -> Vec<Event> {
    let capture = Capture::new(name).unwrap();
    let events = capture.events();
    // Another capture's events must not appear.
    let other = Capture::new(name).unwrap();
    other.run(&mut sh(r#"echo other > "$1""#, &other)).unwrap();
    let _ = capture.run(&mut sh(script, &capture));
    all(events)
}

#[test]
fn a_file_is_opened_written_closed_and_done() {
    let seen = of_script("out.txt", r#"echo hello > "$1""#);
    assert!(
        matches!(&seen[0], Event::Opened { pid, name, generation: 1, .. } if *pid > 0 && name == "sh"),
        "{seen:?}"
    );
    let has = |is_wanted: fn(&Event) -> bool| assert!(seen.iter().any(is_wanted), "{seen:?}");
    has(|event| matches!(event, Event::Chosen { way, .. } if *way == Way::Follow));
    has(|event| {
        matches!(
            event,
            Event::Wrote {
                offset: 0,
                bytes: 6,
                ..
            }
        )
    });
    has(|event| *event == Event::Closed);
    assert!(is_done(&seen, 6), "{seen:?}");
}

#[test]
fn truncating_renaming_and_removing_are_events() {
    let script = r#"echo a > "$1"; rm "$1"; seq 9 > "$1.tmp"; truncate -s 4 "$1.tmp"; mv "$1.tmp" "$1"; truncate -s 2 "$1""#;
    let seen = of_script("out.zip", script);
    assert!(seen.contains(&Event::Removed), "{seen:?}");
    let is_truncated = |event: &Event| matches!(event, Event::Truncated { length: 2, .. });
    assert!(seen.iter().any(is_truncated), "{seen:?}");
    let renamed = seen.iter().find_map(|event| match event {
        Event::Renamed { from, .. } => Some(from),
        _ => None,
    });
    assert!(
        renamed.is_some_and(|from| from.ends_with("out.zip.tmp")),
        "{seen:?}"
    );
    assert!(is_done(&seen, 2), "{seen:?}");
}

#[test]
fn a_file_that_is_renamed_away_is_reported_as_removed() {
    let capture = Capture::new("out.zip").unwrap();
    let events = capture.events();
    let _ = capture.run(&mut sh(
        r#"echo a > "$1"; mv "$1" "$1.old"; echo b > "$1""#,
        &capture,
    ));
    let seen = all(events);
    let removed = seen.iter().position(|event| *event == Event::Removed);
    assert!(
        removed.is_some_and(|at| at > 0 && at + 1 < seen.len()),
        "{seen:?}"
    );
}

#[test]
fn a_killed_writer_is_named() {
    let seen = of_script("out.txt", r#"echo part > "$1"; kill -KILL $$"#);
    assert!(
        matches!(seen.last(), Some(Event::Failed { signal: Some(9), name, .. }) if name == "sh"),
        "{seen:?}"
    );
}

#[test]
fn bytes_that_could_not_be_kept_end_it_as_failed() {
    // It once ended without any event, so that waiting for one never ended.
    let mount = Mount::builder()
        .deliver_all(Deliver::Settled)
        .max_size(1 << 20)
        .mount_temporary()
        .unwrap();
    let capture = mount.capture("out").unwrap();
    let events = capture.events();
    let mut running = capture
        .spawn(&mut sh(
            r#"head -c 4M /dev/zero > "$1" 2>/dev/null; true"#,
            &capture,
        ))
        .unwrap();
    let error = within(SOON, "a file that does not fit", move || {
        let read = running.reader.read_all();
        running.child.wait().unwrap();
        read.unwrap_err()
    });
    assert!(matches!(error, Error::Failed { .. }), "{error:?}");
    let seen = all(events);
    assert!(
        matches!(seen.last(), Some(Event::Failed { signal: None, .. })),
        "{seen:?}"
    );
}

#[test]
fn a_subscriber_that_is_too_slow_gets_the_number_of_lost_events() {
    let mount = Mount::builder().mount_temporary().unwrap();
    let capture = mount.capture("out.txt").unwrap();
    let events = capture.events();
    within(2 * SOON, "more events than are kept", move || {
        for _ in 0..1500 {
            fs::write(capture.path(), "x").unwrap();
        }
    });
    let mut events = events;
    let lost = events.find_map(|event| match event.unwrap() {
        Event::Lagged { lost, .. } => Some(lost),
        _ => None,
    });
    assert!(lost.is_some_and(|lost| lost > 0), "{lost:?}");
}

#[test]
fn waiting_for_an_event_times_out_and_ends_with_the_mount() {
    let mount = Mount::builder().mount_temporary().unwrap();
    let capture = mount.capture("out.txt").unwrap();
    let mut events = capture.events();
    events.set_timeout(Some(Duration::from_millis(30)));
    assert!(matches!(events.next(), Some(Err(Error::TimedOut { .. }))));
    events.set_timeout(None);
    let end = std::thread::spawn(move || events.next().is_none());
    drop(mount);
    assert!(within(SOON, "events of a mount that is gone", move || end
        .join()
        .unwrap()));
}

#[test]
fn a_mount_reports_the_events_and_the_state_of_all_its_files() {
    let mount = Mount::builder().mount_temporary().unwrap();
    let mut events = mount.events();
    events.set_timeout(Some(SOON));
    let mut file = fs::File::create(mount.path().join("a.log")).unwrap();
    // An empty file may get its content as long as its writer lives.
    file.write_all(b"a").unwrap();
    fs::create_dir(mount.path().join("d")).unwrap();
    fs::write(mount.path().join("d/b.zip"), "PK").unwrap();
    let status = mount.status();
    let state = |path: &str| {
        let file = status.files.iter().find(|file| file.path == *path);
        file.unwrap_or_else(|| panic!("{path} is not in {status:#?}"))
    };
    assert_eq!(state("a.log").state, FileState::Writing);
    assert_eq!(state("d/b.zip").way, Some(Way::Settled));
    assert_eq!(state("d/b.zip").size, 2);
    let text = fs::read_to_string(mount.path().join(".fifofs/status")).unwrap();
    let read: Status = serde_json::from_str(&text).unwrap();
    assert_eq!(read.files[0].path, status.files[0].path);
    drop(file);
    let mut done = Vec::new();
    for event in &mut events {
        let event = event.unwrap_or_else(|error| panic!("{error} after {done:?}"));
        if matches!(event.event, Event::Done { .. }) {
            done.push(event.path);
        }
        if done.len() == 2 {
            break;
        }
    }
    done.sort();
    assert_eq!(done, [PathBuf::from("a.log"), PathBuf::from("d/b.zip")]);
}
