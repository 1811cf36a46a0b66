//! The README's commands work. Every line of a fenced block marked `sh` is run, one block after the other, in one new folder.
//!
//! What can't be run in a test goes into a block of another kind (`text`, `toml`, `console`). The binary under test stands in for what the
//! README builds: `cargo run --release -- X` is `tintype X`, and lines that only fetch, build or test the source are left out.

use std::path::Path;

use rustix::process::Signal;

use crate::support::process::Tintype;

fn readme() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("cannot read {}: {error}", file.display()))
}

/// The commands of all `sh` blocks, lines that end in `\` joined with the next.
fn commands(text: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut inside = false;
    let mut begun = String::new();
    for line in text.lines() {
        let line = line.trim();
        if let Some(kind) = line.strip_prefix("```") {
            inside = kind == "sh";
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            match line.strip_suffix('\\') {
                Some(part) => begun += part,
                None => commands.push(std::mem::take(&mut begun) + line),
            }
        }
    }
    commands
}

/// What a line means here; `None` for one that is about the source.
fn translate(command: &str) -> Option<String> {
    let about_source = ["git clone ", "cd tintype", "cargo build", "cargo install", "cargo test", "bash tests/run.sh"];
    if about_source.iter().any(|start| command.starts_with(start)) {
        return None;
    }
    let command = command.replacen("cargo run --release -- ", "tintype ", 1);
    let command = command.replacen("./target/release/tintype ", "tintype ", 1);
    // On free ports, for there may be another server on the usual ones.
    Some(match command.ends_with(" serve") {
        true => command + " --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0",
        false => command,
    })
}

/// Whether a command serves until it is stopped.
fn serves(command: &str) -> bool {
    let words: Vec<&str> = command.split_whitespace().collect();
    let command_is = |name: &str| words.first() == Some(&"tintype") && words.contains(&name);
    (command_is("demo") && !words.contains(&"--no-serve")) || command_is("serve")
}

#[test]
fn every_command_works() {
    let folder = tempfile::tempdir().expect("make a folder");
    let programs = tempfile::tempdir().expect("make a folder");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_tintype"), programs.path().join("tintype"))
        .expect("link the binary");
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", programs.path().display());
    let commands = commands(&readme());
    assert!(commands.iter().any(|command| command.contains("demo")), "the README doesn't show the demo: {commands:?}");
    assert!(commands.iter().any(|command| command == "bash tests/run.sh"), "nor its test command: {commands:?}");
    let mut here = folder.path().to_owned();
    let mut last = None;
    for command in commands.iter().filter_map(|command| translate(command)) {
        if let Some(to) = command.strip_prefix("cd ") {
            here.push(to);
            continue;
        }
        // In place of the shell, so that a signal meets the server and not the shell.
        let script = if serves(&command) { format!("exec {command}") } else { command.clone() };
        let shell = Tintype::new(["-euc", &script]).program("/bin/bash".into()).in_directory(&here).env("PATH", &path);
        let mut running = shell.timeout(std::time::Duration::from_mins(10)).start();
        if serves(&command) {
            running.address();
            running.signal(Signal::INT);
            let ended = running.finish();
            assert!([0, 130].contains(&ended.code()), "{command}: {ended}");
        } else {
            running.finish().expect(0);
        }
        last = Some(command);
    }
    assert!(last.is_some(), "the README has no command that a test can run");
}

/// The text of every fenced block whose first line names this file.
fn blocks_of(text: &str, file: &str) -> Vec<String> {
    let begin = format!("# {file}: ");
    let blocks = text.split("\n```").filter_map(|block| block.split_once('\n'));
    blocks.map(|(_, block)| format!("{block}\n")).filter(|block| block.starts_with(&begin)).collect()
}

#[test]
fn configurations_are_the_files_that_are_tested() {
    let text = readme();
    for folder in ["tests/caches", "tests/poolers", "tests/alerts"] {
        let mut files = 0;
        // A page is no place for what only programs read; it says where that is.
        let is_only_named = |name: &str| name.ends_with(".json") || name.ends_with("_test.yml");
        let entries = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).expect("list them");
        for entry in entries.map(|entry| entry.expect("an entry")) {
            let name = entry.file_name().into_string().expect("names are UTF-8");
            if is_only_named(&name) {
                assert!(text.contains(&format!("`{folder}/{name}`")), "the README doesn't name {folder}/{name}");
                continue;
            }
            let shown = blocks_of(&text, &format!("{folder}/{name}"));
            let file = std::fs::read_to_string(entry.path()).expect("read it");
            assert_eq!(shown, [file], "the README shows {folder}/{name} as it is, once");
            files += 1;
        }
        let examples = text.matches(&format!("# {folder}/")).count();
        assert_eq!(examples, files, "the README shows no example that isn't there");
    }
}

#[test]
fn it_says_how_long_the_first_build_took() {
    let text = readme();
    let words: Vec<&str> = text.split_whitespace().collect();
    let says = words.windows(2).any(|pair| pair[1].starts_with("minute") && pair[0].parse::<f64>().is_ok());
    assert!(says, "the README doesn't say how many minutes the first build takes");
}

#[test]
fn links_lead_to_files_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["README.md", "README.zh.md"] {
        let Ok(text) = std::fs::read_to_string(root.join(name)) else {
            assert_ne!(name, "README.md", "there is no README");
            continue;
        };
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if !file.is_empty() && !file.contains("://") {
                assert!(root.join(file).exists(), "{name} links to {file}, which isn't there");
            }
        }
    }
}
