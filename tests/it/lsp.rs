//! `nameplate lsp`, asked as an editor asks it: by the Language Server Protocol, over the pipes of a real process.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::server::{temporary_directory, tool};

/// An editor with one server.
struct Editor {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    last: u64,
}

impl Editor {
    /// Starts the server, and does not yet say `initialize`.
    fn start(dir: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_nameplate"))
            .args(["lsp", "--stdio"])
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        Self {
            child,
            input,
            output,
            last: 0,
        }
    }

    /// A session in a folder.
    fn open(dir: &Path) -> Self {
        let mut editor = Self::start(dir);
        let result = editor.ask("initialize", json!({ "capabilities": {}, "rootUri": null }));
        assert_eq!(result["capabilities"]["positionEncoding"], "utf-16");
        editor.tell("initialized", json!({}));
        editor
    }

    fn send_text(&mut self, body: &str) {
        let input = self.input.as_mut().expect("it is open");
        write!(input, "Content-Length: {}\r\n\r\n{body}", body.len()).expect("it listens");
        input.flush().expect("it listens");
    }

    fn receive(&mut self) -> Value {
        let mut length = 0;
        loop {
            let mut line = String::new();
            let read = self.output.read_line(&mut line).expect("a line");
            assert!(read > 0, "the server has gone");
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                length = value.parse().expect("a number");
            }
        }
        let mut body = vec![0; length];
        self.output.read_exact(&mut body).expect("a body");
        serde_json::from_slice(&body).expect("JSON")
    }

    fn tell(&mut self, method: &str, params: Value) {
        let message = json!({ "jsonrpc": "2.0", "method": method, "params": params });
        self.send_text(&message.to_string());
    }

    /// The whole answer to a request; what the server tells meanwhile is dropped.
    fn answer(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let id = self.last;
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        self.send_text(&message.to_string());
        loop {
            let answer = self.receive();
            if answer["id"] == id {
                return answer;
            }
        }
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        let mut answer = self.answer(method, params);
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].take()
    }

    /// The next mistakes that are told of a file.
    fn mistakes(&mut self, uri: &str) -> Vec<Value> {
        loop {
            let told = self.receive();
            let params = &told["params"];
            if told["method"] == "textDocument/publishDiagnostics" && params["uri"] == uri {
                return params["diagnostics"].as_array().expect("a list").clone();
            }
        }
    }

    fn did_open(&mut self, uri: &str, text: &str) -> Vec<Value> {
        let document = json!({ "uri": uri, "languageId": "corefile", "version": 1, "text": text });
        self.tell("textDocument/didOpen", json!({ "textDocument": document }));
        self.mistakes(uri)
    }

    fn did_change(&mut self, uri: &str, text: &str) -> Vec<Value> {
        let params = json!({
            "textDocument": { "uri": uri, "version": 2 },
            "contentChanges": [{ "text": text }],
        });
        self.tell("textDocument/didChange", params);
        self.mistakes(uri)
    }

    fn at(&mut self, method: &str, uri: &str, (line, character): (usize, usize)) -> Value {
        let params = json!({
            "textDocument": { "uri": uri },
            "position": { "line": line, "character": character },
        });
        self.ask(method, params)
    }

    /// The labels that are proposed at `|` in a text.
    fn proposed(&mut self, text: &str) -> Vec<String> {
        let (before, behind) = text.split_once('|').expect("a cursor");
        let uri = "file:///nowhere/Corefile";
        self.did_open(uri, &format!("{before}{behind}"));
        let line = before.matches('\n').count();
        let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1);
        let result = self.at("textDocument/completion", uri, (line, column));
        let items = result["items"].as_array().expect("a list").iter();
        items
            .map(|item| item["label"].as_str().expect("a label").to_owned())
            .collect()
    }

    /// What is shown for the word that begins at `|`.
    fn hover(&mut self, text: &str) -> String {
        let (before, behind) = text.split_once('|').expect("a cursor");
        let uri = "file:///nowhere/Corefile";
        self.did_open(uri, &format!("{before}{behind}"));
        let line = before.matches('\n').count();
        let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1);
        let result = self.at("textDocument/hover", uri, (line, column));
        let shown = &result["contents"]["value"];
        shown.as_str().unwrap_or_default().to_owned()
    }

    fn close(mut self) -> Option<i32> {
        self.ask("shutdown", Value::Null);
        self.tell("exit", Value::Null);
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn uri(dir: &Path, file: &str) -> String {
    format!("file://{}/{file}", dir.display())
}

fn codes(found: &[Value]) -> Vec<&str> {
    let codes = found.iter().map(|one| one["code"].as_str());
    codes.map(|code| code.expect("a code")).collect()
}

#[test]
fn a_session_begins_and_ends_as_the_protocol_says() {
    let dir = temporary_directory("lsp_session");
    let mut editor = Editor::start(&dir);
    let early = editor.answer("textDocument/hover", json!({}));
    assert_eq!(early["error"]["code"], -32_002, "{early}");
    let general = json!({ "general": { "positionEncodings": ["utf-16", "utf-8"] } });
    let result = editor.ask("initialize", json!({ "capabilities": general }));
    assert_eq!(result["capabilities"]["positionEncoding"], "utf-8");
    assert_eq!(result["capabilities"]["hoverProvider"], true);
    assert_eq!(result["serverInfo"]["name"], "nameplate");
    let unknown = editor.answer("textDocument/rename", json!({}));
    assert_eq!(unknown["error"]["code"], -32_601, "{unknown}");
    editor.tell("$/setTrace", json!({ "value": "off" }));
    editor.send_text("{");
    let broken = editor.receive();
    assert_eq!(broken["error"]["code"], -32_700, "{broken}");
    editor.send_text("{\"id\": 99}");
    let empty = editor.receive();
    assert_eq!(empty["error"]["code"], -32_600, "{empty}");
    assert_eq!(editor.ask("shutdown", Value::Null), Value::Null);
    let late = editor.answer("textDocument/hover", json!({}));
    assert_eq!(late["error"]["code"], -32_600, "{late}");
    editor.tell("exit", Value::Null);
    let status = editor.child.wait().expect("it ends");
    assert_eq!(status.code(), Some(0));

    // An editor that goes away, or says exit without shutdown.
    let mut editor = Editor::open(&dir);
    editor.tell("exit", Value::Null);
    assert_eq!(editor.child.wait().expect("it ends").code(), Some(1));
    let mut editor = Editor::open(&dir);
    drop(editor.input.take());
    assert_eq!(editor.child.wait().expect("it ends").code(), Some(1));
}

#[test]
fn mistakes_are_told_and_corrected_while_somebody_types() {
    let dir = temporary_directory("lsp_mistakes");
    let mut editor = Editor::open(&dir);
    let uri = uri(&dir, "Corefile");
    // The columns behind such a comment and word are counted in UTF-16.
    let text = ". {\n    template IN TXT \"ä𝄞\" { # ä𝄞\n    }\n    hosts {\n        falthrough\n    }\n    wohami\n}\n";
    let found = editor.did_open(&uri, text);
    assert!(codes(&found).contains(&"CF0102"), "{found:?}");
    let option = found
        .iter()
        .find(|one| one["code"] == "CF0102")
        .expect("it");
    assert_eq!(option["severity"], 1);
    assert_eq!(option["source"], "nameplate");
    let range = json!({
        "start": { "line": 4, "character": 8 },
        "end": { "line": 4, "character": 18 },
    });
    assert_eq!(option["range"], range);
    let message = option["message"].as_str().expect("a text");
    assert!(
        message.contains("unknown property 'falthrough'"),
        "{message}"
    );
    let beside = &option["relatedInformation"][0];
    assert_eq!(beside["location"]["uri"], uri);

    let params = |range: &Value, only: Value| {
        json!({
            "textDocument": { "uri": uri },
            "range": range,
            "context": { "diagnostics": [], "only": only },
        })
    };
    let actions = editor.ask(
        "textDocument/codeAction",
        params(&range, json!(["quickfix"])),
    );
    let action = &actions[0];
    assert_eq!(action["title"], "Replace `falthrough` with `fallthrough`");
    assert_eq!(action["kind"], "quickfix");
    let edit = &action["edit"]["changes"][&uri][0];
    assert_eq!(edit["newText"], "fallthrough");
    assert_eq!(edit["range"], range);

    let all = editor.ask(
        "textDocument/codeAction",
        params(&range, json!(["source.fixAll"])),
    );
    let edits = all[0]["edit"]["changes"][&uri]
        .as_array()
        .expect("edits")
        .clone();
    assert_eq!(edits.len(), 2, "{all}");
    let words: Vec<&str> = edits
        .iter()
        .filter_map(|edit| edit["newText"].as_str())
        .collect();
    assert_eq!(words, ["fallthrough", "whoami"]);

    let better = text
        .replace("falthrough", "fallthrough")
        .replace("wohami", "whoami");
    let found = editor.did_change(&uri, &better);
    assert!(!codes(&found).contains(&"CF0102"), "{found:?}");
    let found = editor.did_change(&uri, ". {\n    whoami\n}\n");
    assert!(found.is_empty(), "{found:?}");
    editor.did_change(&uri, ". {\n    whoam\n}\n");
    editor.tell(
        "textDocument/didClose",
        json!({ "textDocument": { "uri": uri } }),
    );
    assert!(editor.mistakes(&uri).is_empty(), "a closed file has none");
    assert_eq!(editor.close(), Some(0));
}

#[test]
fn mistakes_in_other_files_are_told_there() {
    let dir = temporary_directory("lsp_files");
    let mut editor = Editor::open(&dir);
    let (main, part) = (uri(&dir, "Corefile"), uri(&dir, "part.conf"));
    std::fs::write(dir.join("part.conf"), "    errrors\n    whoami\n").expect("written");
    let text = ". {\n    import part.conf\n}\n";
    editor.tell(
        "textDocument/didOpen",
        json!({ "textDocument": { "uri": main, "version": 1, "text": text } }),
    );
    let found = editor.mistakes(&part);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        found[0]["range"]["start"],
        json!({ "line": 0, "character": 4 })
    );
    // The part is no Corefile by itself, and is not judged as one.
    let found = editor.did_open(&part, "    errrors\n    whoami\n");
    assert_eq!(found.len(), 1, "{found:?}");
    std::fs::write(dir.join("part.conf"), "    errors\n    whoami\n").expect("written");
    editor.tell(
        "textDocument/didSave",
        json!({ "textDocument": { "uri": part } }),
    );
    assert!(editor.mistakes(&part).is_empty());

    // A zone file is read when the Corefile is opened or saved.
    let zone = uri(&dir, "zone");
    std::fs::write(
        dir.join("zone"),
        "@ IN SOA ns hm 1 1 1 1 1\n@ IN NS ns\nns IN A 1.2.3\n",
    )
    .expect("written");
    let text = "example.org {\n    file zone\n}\n";
    let mut editor = Editor::open(&dir);
    editor.tell(
        "textDocument/didOpen",
        json!({ "textDocument": { "uri": main, "version": 1, "text": text } }),
    );
    let found = editor.mistakes(&zone);
    assert_eq!(found[0]["range"]["start"]["line"], 2, "{found:?}");
    assert_eq!(editor.close(), Some(0));
}

#[test]
fn words_are_completed_where_they_may_stand() {
    let dir = temporary_directory("lsp_completion");
    let mut editor = Editor::open(&dir);
    for (text, has, has_not) in [
        (
            ". {\n    |\n}\n",
            &["forward", "whoami", "import"][..],
            &["geoip", "fallthrough"][..],
        ),
        (". {\n    fo|", &["forward"], &["whoami"]),
        (
            ". {\n    errors\n    hosts {\n        |\n    }\n}\n",
            &["fallthrough", "ttl", "reload"],
            &["forward"],
        ),
        (
            ". {\n    hosts {\n        fall|\n    }\n}\n",
            &["fallthrough"],
            &["ttl"],
        ),
        (
            ". {\n    forward . 192.0.2.1 {\n        policy |\n    }\n}\n",
            &["random", "round_robin", "sequential"],
            &["forward", "policy"],
        ),
        (
            ". {\n    acl {\n        |\n    }\n}\n",
            &["allow", "block", "filter", "drop"],
            &["ACTION"],
        ),
        (
            "(common) {\n    errors\n}\n. {\n    import |\n}\n",
            &["common"],
            &["errors"],
        ),
        (". {\n    whoami\n}\n|", &["import"], &["whoami"]),
        (". {\n    # fo|\n}\n", &[], &["forward"]),
        (
            ". {\n    order {\n        ca|\n    }\n}\n",
            &["cache"],
            &["hosts"],
        ),
    ] {
        let labels = editor.proposed(text);
        for label in has {
            assert!(
                labels.iter().any(|one| one == label),
                "{text}: {label} in {labels:?}"
            );
        }
        for label in has_not {
            assert!(
                labels.iter().all(|one| one != label),
                "{text}: {label} in {labels:?}"
            );
        }
    }
    // What was typed is replaced.
    let uri = uri(&dir, "Corefile");
    editor.did_open(&uri, ". {\n    forwa\n}\n");
    let result = editor.at("textDocument/completion", &uri, (1, 9));
    let item = &result["items"][0];
    assert_eq!(item["label"], "forward");
    let range = json!({
        "start": { "line": 1, "character": 4 },
        "end": { "line": 1, "character": 9 },
    });
    assert_eq!(
        item["textEdit"],
        json!({ "range": range, "newText": "forward" })
    );
    let told = item["documentation"]["value"].as_str().expect("a text");
    assert!(told.contains("forward FROM TO..."), "{told}");
}

#[test]
fn hovering_explains_a_word_and_where_it_runs() {
    let dir = temporary_directory("lsp_hover");
    let mut editor = Editor::open(&dir);
    let chain = ". {\n    reload\n    forward . 192.0.2.1\n    errors\n    cache\n}\n";
    let at = |word: &str| chain.replacen(word, &format!("|{word}"), 1);
    for (text, expected) in [
        (
            at("cache"),
            "Runs 2nd of 3 in this server block, after `errors` and before `forward` (order coredns-1.14.7).",
        ),
        (
            at("forward"),
            "Runs 3rd of 3 in this server block, after `cache`",
        ),
        (
            at("reload"),
            "It configures the server block, and sees no queries.",
        ),
        (at("forward"), "forwards queries to upstream resolvers"),
        (
            ". {\n    hosts {\n        |fallthrough\n    }\n}\n".into(),
            "Option of **hosts**.",
        ),
        (
            ". {\n    |geoip x\n}\n".into(),
            "is a plugin of CoreDNS that nameplate does not have",
        ),
        (
            "|tls://example.org {\n    whoami\n}\n".into(),
            "on port 853",
        ),
        ("|(common) {\n    errors\n}\n".into(), "`import common`"),
    ] {
        let told = editor.hover(&text);
        assert!(told.contains(expected), "{text}\n{told}");
    }
    // A mistake elsewhere hides nothing.
    let told = editor.hover(". {\n    wohami\n    |cache\n    errors\n}\n");
    assert!(told.contains("Runs 2nd of 2"), "{told}");
    assert_eq!(editor.hover(". {\n    wohami |\n}\n"), "");

    let uri = uri(&dir, "Corefile");
    editor.did_open(&uri, chain);
    let hints = editor.ask(
        "textDocument/inlayHint",
        json!({
            "textDocument": { "uri": uri },
            "range": { "start": { "line": 0, "character": 0 }, "end": { "line": 9, "character": 0 } },
        }),
    );
    let mut labels: Vec<(u64, &str)> = hints
        .as_array()
        .expect("a list")
        .iter()
        .map(|hint| {
            let line = hint["position"]["line"].as_u64().unwrap_or_default();
            (line, hint["label"].as_str().expect("a label"))
        })
        .collect();
    labels.sort_unstable();
    assert_eq!(labels, [(2, "runs 3rd"), (3, "runs 1st"), (4, "runs 2nd")]);
}

/// Every plugin has a manual to show, and every option that is proposed is one.
#[test]
fn every_proposal_is_known_to_its_plugin() {
    let dir = temporary_directory("lsp_all");
    let mut editor = Editor::open(&dir);
    let directives = editor.proposed(". {\n    |\n}\n");
    assert!(directives.len() > 45, "{directives:?}");
    let mut options = 0;
    for directive in directives.iter().filter(|name| *name != "import") {
        let told = editor.hover(&format!(". {{\n    |{directive}\n}}\n"));
        assert!(told.starts_with(&format!("**{directive}** - ")), "{told}");
        if directive == "order" {
            continue;
        }
        let proposed = editor.proposed(&format!(
            ". {{\n    {directive} {{\n        |\n    }}\n}}\n"
        ));
        for option in proposed.iter().filter(|name| *name != "import") {
            // This one has a mode for it.
            let words = match (directive.as_str(), option.as_str()) {
                ("loadbalance", "reload") => "loadbalance weighted file",
                (directive, _) => directive,
            };
            let text = format!(". {{\n    {words} {{\n        {option}\n    }}\n}}\n");
            let found = editor.did_change("file:///nowhere/Corefile", &text);
            let unknown = found.iter().find(|one| one["code"] == "CF0102");
            assert!(unknown.is_none(), "{directive}: {unknown:?}");
            options += 1;
        }
    }
    assert!(options > 120, "only {options} options");
}

/// A real editor: Neovim, which starts the server, shows what it finds, and applies a correction.
#[test]
fn neovim_works_with_it() {
    let Some(nvim) = tool("nvim") else { return };
    let dir = temporary_directory("lsp_neovim");
    std::fs::write(dir.join("Corefile"), ". {\n    wohami\n}\n").expect("written");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/lsp/neovim.lua");
    let output = Command::new(nvim)
        .args(["--headless", "--clean", "-n", "Corefile", "-c"])
        .arg(format!("luafile {script}"))
        .env("NAMEPLATE", env!("CARGO_BIN_EXE_nameplate"))
        .env("HOME", &dir)
        .current_dir(&dir)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    for part in ["CF0118", "answers every query", "completes whoami"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let corrected = std::fs::read_to_string(dir.join("Corefile")).expect("a file");
    assert_eq!(corrected, ". {\n    whoami\n}\n");
}
