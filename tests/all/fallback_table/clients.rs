//! What the README shows to authors of an API: its snippets are run as they stand, but for their paths.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::fallback::{Table, World, server_world, worlds};
use crate::support::skip::skip;

const PATH: &str = "places/united-states/crispr/low.json";

/// The code blocks of this kind in the README's section about the table.
fn snippets(kind: &str) -> Vec<String> {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("the README");
    let section = readme.split("### The fallback table").nth(1).expect("the section");
    let section = section.split("\n### ").next().expect("its text").split("\n## ").next().expect("its text");
    let fence = format!("```{kind}\n");
    let blocks = section.split(&fence).skip(1);
    let blocks: Vec<String> = blocks
        .map(|rest| rest.split("```").next().expect("its end").replace("world-map/crispr/low.json", PATH))
        .collect();
    assert!(!blocks.is_empty(), "the README shows no {kind}");
    blocks
}

/// Runs a program over a script, which must print one JSON document: status, headers and the body in Base64.
fn answers(world: &World, program: &Path, script: &str, name: &str, environment: &[(&str, String)]) {
    let file = world.project.root().join(name);
    std::fs::write(&file, script).expect("write the script");
    let mut command = Command::new(program);
    command.arg(&file).current_dir(world.project.root());
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    let output = command.output().expect("start the program");
    assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
    let said: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    let row = &world.table.rows()[PATH];
    assert_eq!(said["found"][0], 200, "{said:#}");
    let headers = &said["found"][1];
    assert_eq!(headers["Cache-Control"], row.cache_control, "{said:#}");
    assert_eq!(headers["Content-Encoding"], "gzip");
    let digest = world.table.query(&format!("SELECT digest FROM tintype_snapshot WHERE path = '{PATH}'"));
    assert_eq!(headers["ETag"], format!("\"{}\"", digest[0][0].as_deref().expect("a digest")));
    let body: String = row.body.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(said["found"][2], body, "the unpacked body in hexadecimal digits");
    assert_eq!(said["unknown"][0], 404, "{said:#}");
}

/// The first of these programs that can run this, or a skip.
fn able(programs: &[&str], arguments: &[&str], environment: &[(&str, String)], needed: &str) -> Option<PathBuf> {
    let can = |program: &&&str| {
        let mut command = Command::new(program);
        command.args(arguments).envs(environment.iter().map(|(name, value)| (name, value)));
        command.output().is_ok_and(|output| output.status.success())
    };
    let found = programs.iter().find(can).map(PathBuf::from);
    if found.is_none() {
        skip(needed);
    }
    found
}

const PYTHON_END: &str = r#"
import json, zlib
def shown(path):
    status, headers, body = answer(path)
    return [status, headers, zlib.decompress(bytes(body), 31).hex() if body else ""]
print(json.dumps({"found": shown("PATH"), "unknown": shown("no/such.json")}))
"#;

const NODE_END: &str = r#"
import { gunzipSync } from "node:zlib";
const shown = async (path) => {
  const [status, headers, body] = await answer(path);
  return [status, headers, body ? gunzipSync(body).toString("hex") : ""];
};
console.log(JSON.stringify({ found: await shown("PATH"), unknown: await shown("no/such.json") }));
process.exit(0);
"#;

#[test]
fn in_sql() {
    for world in worlds() {
        world.project.publish();
        let statements: Vec<String> =
            snippets("sql").iter().flat_map(|block| block.split(';').map(str::to_owned).collect::<Vec<_>>()).collect();
        let mut answered = 0;
        for sql in statements.iter().map(|sql| sql.trim()).filter(|sql| sql.starts_with("SELECT")) {
            let rows = world.table.query(&format!("SELECT count(*) FROM ({sql}) AS answer"));
            assert_eq!(rows[0][0].as_deref(), Some("1"), "{}: {sql}", world.engine);
            answered += 1;
        }
        assert!(answered >= 2, "{statements:?}");
    }
}

#[test]
fn in_python_over_the_file() {
    let world = worlds().remove(0);
    world.project.publish();
    let Some(python) =
        able(&["python3", "/usr/bin/python3"], &["-c", "import sqlite3"], &[], "no python3 with sqlite3")
    else {
        return;
    };
    let snippet = snippets("python").into_iter().find(|text| text.contains("import sqlite3")).expect("one for SQLite");
    answers(&world, &python, &format!("{snippet}{}", PYTHON_END.replace("PATH", PATH)), "file.py", &[]);
}

#[test]
fn in_python_over_the_server() {
    let Some(world) = server_world("") else { return };
    world.project.publish();
    let Some(python) =
        able(&["python3", "/usr/bin/python3"], &["-c", "import psycopg"], &[], "no python3 with psycopg")
    else {
        return;
    };
    let snippet = snippets("python").into_iter().find(|text| text.contains("psycopg")).expect("one for PostgreSQL");
    let script = format!("{snippet}{}", PYTHON_END.replace("PATH", PATH));
    answers(&world, &python, &script, "server.py", &[("FALLBACK_URL", url(&world))]);
}

#[test]
fn in_node_over_the_server() {
    let Some(world) = server_world("") else { return };
    world.project.publish();
    // Debian's packages of modules lie there.
    let modules = std::env::var("NODE_PATH").unwrap_or_else(|_| "/usr/share/nodejs".to_owned());
    let environment = [("NODE_PATH", modules.clone()), ("FALLBACK_URL", url(&world))];
    let Some(node) = able(&["node"], &["-e", "require('pg')"], &environment, "no node with the module pg") else {
        return;
    };
    // `import` looks for modules beside the script only.
    std::os::unix::fs::symlink(&modules, world.project.root().join("node_modules")).expect("link the modules");
    let snippet = snippets("js").into_iter().find(|text| text.contains("from \"pg\"")).expect("one for PostgreSQL");
    answers(&world, &node, &format!("{snippet}{}", NODE_END.replace("PATH", PATH)), "server.mjs", &environment);
}

fn url(world: &World) -> String {
    match &world.table {
        Table::Server(url) => url.clone(),
        Table::File(file) => panic!("{} isn't a server", file.display()),
    }
}
