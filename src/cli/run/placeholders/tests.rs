use super::*;

fn parse(words: &[&str], placeholder: &str) -> Result<Template> {
    let words: Vec<OsString> = words.iter().map(OsString::from).collect();
    Template::parse(&words, OsStr::new(placeholder))
}

fn expand(words: &[&str], placeholder: &str) -> (Vec<String>, Vec<String>) {
    let template = parse(words, placeholder).expect("a template");
    let names: Vec<String> = template
        .outputs()
        .iter()
        .map(|name| name.to_str().expect("UTF-8").to_owned())
        .collect();
    let paths: Vec<PathBuf> = names
        .iter()
        .map(|name| Path::new("/m").join(name))
        .collect();
    let words = template
        .words(&paths, Path::new("/m"))
        .into_iter()
        .map(|word| word.into_string().expect("UTF-8"))
        .collect();
    (words, names)
}

#[track_caller]
fn refused(words: &[&str], placeholder: &str, why: &str) {
    let error = parse(words, placeholder).expect_err("an error").to_string();
    assert!(error.contains(why), "'{error}' does not say '{why}'");
}

#[test]
fn a_placeholder_may_stand_inside_a_word() {
    let (words, names) = expand(
        &["7z", "a", "-o{out:x.7z}", "{out}.log", "", "{", "}"],
        DEFAULT,
    );
    assert_eq!(words, ["7z", "a", "-o/m/x.7z", "/m/out.log", "", "{", "}"]);
    assert_eq!(names, ["x.7z", "out"]);
}

#[test]
fn the_same_name_twice_is_the_same_output() {
    let (words, names) = expand(&["sh", "{out:a}{out:b}", "{out:./a}", "{dir}/a"], DEFAULT);
    assert_eq!(words, ["sh", "/m/a/m/b", "/m/a", "/m/a"]);
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn names_may_have_directories() {
    let (words, names) = expand(&["p", "{out:a//b/c.txt}"], DEFAULT);
    assert_eq!(words, ["p", "/m/a/b/c.txt"]);
    assert_eq!(names, ["a/b/c.txt"]);
}

#[test]
fn another_placeholder_leaves_the_usual_one_alone() {
    let (words, names) = expand(&["awk", "{out}", "@OUT@", "{out:x"], "@OUT@");
    assert_eq!(words, ["awk", "{out}", "/m/out", "{out:x"]);
    assert_eq!(names, ["out"]);
    let (words, _) = expand(&["p", "<file}", "<file:x.zip}"], "<file}");
    assert_eq!(words, ["p", "/m/out", "/m/x.zip"]);
}

#[test]
fn the_directory_alone_is_a_placeholder() {
    let template = parse(&["split", "x", "{dir}/"], DEFAULT).expect("a template");
    assert!(template.has_directory() && template.outputs().is_empty());
}

#[test]
fn words_that_are_not_utf8_stay_as_they_are() {
    let word = OsString::from_vec(b"\xff{out}\xfe".to_vec());
    let template = Template::parse(&[word], OsStr::new(DEFAULT)).expect("a template");
    let words = template.words(&["/m/out".into()], Path::new("/m"));
    assert_eq!(words[0].as_bytes(), b"\xff/m/out\xfe");
}

#[test]
fn a_name_that_is_no_path_inside_the_directory_is_refused() {
    refused(&["p", "{out:}"], DEFAULT, "it is empty");
    refused(&["p", "{out:.}"], DEFAULT, "it is that of a directory");
    refused(&["p", "{out:/etc/passwd}"], DEFAULT, "begins with a slash");
    refused(&["p", "{out:a/../../b}"], DEFAULT, "it has ..");
    refused(&["p", "{out:a/}"], DEFAULT, "that of a directory");
    refused(
        &["p", "{out:.fifofs/wait/x}"],
        DEFAULT,
        "uses .fifofs itself",
    );
    refused(
        &["p", "{out:a}", "{out:a/b}"],
        DEFAULT,
        "'a' cannot be a file",
    );
}

#[test]
fn without_a_placeholder_the_message_says_what_to_type() {
    refused(&["zip", "x"], DEFAULT, "fifofs run -- zip x {out}");
    refused(&["zip", "{out}"], "@@", "fifofs run -- zip {out} @@");
    refused(&["p", "{out:x"], DEFAULT, "has no }");
    refused(&["p", "x"], "", "cannot be empty");
    refused(&["p", "x"], "{dir}", "cannot be empty or {dir}");
}

#[test]
fn a_misspelt_placeholder_is_refused_with_the_right_one() {
    for (word, meant) in [
        ("{Out}", "{out}"),
        ("-o{OUT:x.zip}", "-o{out:x.zip}"),
        ("{outt:b}", "{out:b}"),
        ("{ot}", "{out}"),
        ("{uot}", "{out}"),
        ("{out.zip}", "{out:out.zip}"),
        ("{{out}}", "{out}"),
        ("{{out:x.zip}}", "{out:x.zip}"),
        ("{{dir}}/a", "{dir}/a"),
        ("{Dir}", "{dir}"),
        ("{dir:a}", "{dir}/a"),
    ] {
        let said = format!("run -- p {meant}");
        refused(&["p", word], DEFAULT, &said);
        refused(&["p", word, "{out:a}"], DEFAULT, &said);
        let (words, _) = expand(&["p", word, "@OUT@"], "@OUT@");
        assert!(word.contains("{dir}") || words[1] == word);
    }
    for (word, meant) in [("{}", "{out}"), ("{output:x.zip}", "{out:x.zip}")] {
        refused(&["p", word], DEFAULT, &format!("run -- p {meant}"));
        let (words, _) = expand(&["p", word, "{out:a}"], DEFAULT);
        assert_eq!(words[1], word);
    }
}

#[test]
fn text_that_only_looks_like_a_placeholder_stays() {
    for word in [
        "${Out}",
        "{our:d}",
        "{put}",
        "{out",
        "{a}",
        "{outer.name}",
        "{o:5}",
        "{print}",
        "{ {out} }",
    ] {
        let (words, _) = expand(&["awk", word, "{out}"], DEFAULT);
        assert_eq!(words[1], word.replace("{out}", "/m/out"));
    }
}

#[test]
fn advised_commands_can_be_pasted() {
    refused(
        &["sort", "-k2 n", "it's"],
        DEFAULT,
        r"fifofs run -- sort '-k2 n' 'it'\''s' {out}",
    );
    refused(
        &["sh", "-c", "sort < a > $FIFOFS_OUT"],
        DEFAULT,
        r#"fifofs run -- sh -c 'sort < a > "$1"' sh {out}"#,
    );
    refused(
        &["bash", "-ec", "cp \"$1\" \"${FIFOFS_OUT}\"", "x", "a"],
        DEFAULT,
        r#"fifofs run -- bash -ec 'cp "$1" "$2"' x a {out}"#,
    );
    refused(
        &["sh", "-c", "echo a > x.txt"],
        DEFAULT,
        r#"fifofs run -- sh -c '… > "$1"' sh {out}"#,
    );
}
