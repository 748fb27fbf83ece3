//! Messages of JSON-RPC 2.0 behind the headers of the Language Server Protocol (3.17, base protocol).

use std::io::{self, BufRead, Read as _, Write};

use serde_json::{Value, json};

/// The text is no JSON.
pub(crate) const PARSE_ERROR: i32 = -32_700;
/// It is no request, or comes after `shutdown`.
pub(crate) const INVALID_REQUEST: i32 = -32_600;
/// There is no such method.
pub(crate) const METHOD_NOT_FOUND: i32 = -32_601;
/// Something asks before `initialize`.
pub(crate) const NOT_INITIALIZED: i32 = -32_002;

/// The longest message that is read; an editor sends whole documents.
const LONGEST: u64 = 64 << 20;

/// The next message; `None` at the end. A body that is no JSON is an error inside.
///
/// # Errors
/// When the headers cannot be read: nothing tells where the next message begins.
pub(crate) fn read(input: &mut dyn BufRead) -> io::Result<Option<Result<Value, String>>> {
    let mut length = None;
    loop {
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end();
        if line.is_empty() {
            match length {
                Some(_) => break,
                // An empty line between messages.
                None => continue,
            }
        }
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| header(line, "it has no colon"))?;
        if name.eq_ignore_ascii_case("content-length") {
            let octets = value.trim().parse::<u64>();
            length = Some(octets.map_err(|error| header(line, &error.to_string()))?);
        }
    }
    let length = length.unwrap_or_default();
    if length > LONGEST {
        let limit = format!("a message of {length} octets; {LONGEST} at most are read");
        return Err(io::Error::other(limit));
    }
    let mut body = Vec::new();
    input.take(length).read_to_end(&mut body)?;
    if (body.len() as u64) < length {
        return Ok(None);
    }
    Ok(Some(
        serde_json::from_slice(&body).map_err(|error| error.to_string()),
    ))
}

/// Why a header cannot be read.
fn header(line: &str, why: &str) -> io::Error {
    io::Error::other(format!("a header that cannot be read, `{line}`: {why}"))
}

/// Writes a message.
pub(crate) fn write(output: &mut dyn Write, message: &Value) -> io::Result<()> {
    let body = message.to_string();
    write!(output, "Content-Length: {}\r\n\r\n{body}", body.len())?;
    output.flush()
}

/// The answer to a request.
pub(crate) fn response(id: &Value, result: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "result": result })
}

/// The answer to a request that cannot be met.
pub(crate) fn refusal(id: &Value, code: i32, why: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": why } })
}

/// Something that the editor is told without having asked.
pub(crate) fn notification(method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "method": method, "params": params })
}
