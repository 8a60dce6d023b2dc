//! JSON-RPC 2.0 on the wire: what a request is, what a response looks like, which errors the transport itself gives.
//!
//! Source: <https://www.jsonrpc.org/specification>. Two readings are lenient where clients differ: `"params": null`
//! counts as no parameters, and members that the specification does not name are ignored.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::{RawValue, to_raw_value};

/// The error member of a response.
#[derive(Clone, Debug, Serialize)]
pub struct ErrorObject {
    /// What kind of error. −32768 to −32000 belong to JSON-RPC, the rest to the namespace.
    pub code: i64,
    /// One short sentence.
    pub message: Cow<'static, str>,
    /// Anything more, already encoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
}

impl ErrorObject {
    /// An error without data.
    pub fn new(code: i64, message: impl Into<Cow<'static, str>>) -> Self {
        ErrorObject { code, message: message.into(), data: None }
    }

    /// The same error with a value, usually a sentence, as its data.
    #[must_use]
    pub fn with_data(mut self, data: impl Serialize) -> Self {
        self.data = to_raw_value(&data).ok();
        self
    }

    /// −32700: the text is not JSON.
    pub fn parse(reason: impl ToString) -> Self {
        ErrorObject::new(-32700, "Parse error").with_data(reason.to_string())
    }

    /// −32600: JSON, but not a request.
    pub fn invalid_request(reason: impl ToString) -> Self {
        ErrorObject::new(-32600, "Invalid Request").with_data(reason.to_string())
    }

    /// −32601: no such method here.
    pub fn method_not_found(reason: impl ToString) -> Self {
        ErrorObject::new(-32601, "Method not found").with_data(reason.to_string())
    }

    /// −32602: the method exists, its parameters are wrong.
    pub fn invalid_params(reason: impl ToString) -> Self {
        ErrorObject::new(-32602, "Invalid params").with_data(reason.to_string())
    }

    /// −32603: our fault.
    pub fn internal(reason: impl ToString) -> Self {
        ErrorObject::new(-32603, "Internal error").with_data(reason.to_string())
    }

    // The numbers below lie in the range that JSON-RPC leaves to servers; they are the ones that clients of
    // jsonrpsee-based nodes already meet.

    pub(crate) fn timed_out(reason: impl ToString) -> Self {
        ErrorObject::new(-32000, "Request timed out").with_data(reason.to_string())
    }

    pub(crate) fn batches_off() -> Self {
        ErrorObject::new(-32005, "Batched requests are not supported by this server")
    }

    pub(crate) fn too_many_subscriptions(limit: usize) -> Self {
        ErrorObject::new(-32006, "Too many subscriptions on the connection")
            .with_data(format!("at most {limit} subscriptions may be open on one connection"))
    }

    pub(crate) fn request_too_large(limit: usize) -> Self {
        ErrorObject::new(-32007, "Request is too big").with_data(format!("at most {limit} bytes are read"))
    }

    pub(crate) fn response_too_large(limit: usize) -> Self {
        ErrorObject::new(-32008, "Response is too big")
            .with_data(format!("at most {limit} bytes are sent; ask for less"))
    }

    pub(crate) fn busy() -> Self {
        ErrorObject::new(-32009, "Server is busy, try again later")
    }

    pub(crate) fn batch_too_large(count: usize, limit: usize) -> Self {
        ErrorObject::new(-32010, "The batch request was too large")
            .with_data(format!("{count} calls; at most {limit} are taken at once"))
    }
}

/// One call that may be carried out. Without an id it is a notification: carried out, never answered.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) id: Option<&'a RawValue>,
    pub(crate) method: Cow<'a, str>,
    pub(crate) params: Option<&'a RawValue>,
}

/// A member of a message that is no call. Always answered, with id null when the id could not be read.
#[derive(Debug)]
pub(crate) struct Refused<'a> {
    pub(crate) id: Option<&'a RawValue>,
    pub(crate) error: ErrorObject,
}

/// A message as far as it could be understood.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    Single(Result<Call<'a>, Refused<'a>>),
    Batch(Vec<Result<Call<'a>, Refused<'a>>>),
}

/// Reads a message. An error stands for the whole of it and is answered with id null.
pub(crate) fn read(text: &[u8], batch_calls_max: usize) -> Result<Message<'_>, ErrorObject> {
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
    if first != Some(&b'[') {
        let value: &RawValue = serde_json::from_slice(text).map_err(ErrorObject::parse)?;
        return Ok(Message::Single(read_call(value)));
    }
    let members: Vec<&RawValue> = serde_json::from_slice(text).map_err(ErrorObject::parse)?;
    match members.len() {
        0 => Err(ErrorObject::invalid_request("an empty batch")),
        _ if batch_calls_max == 0 => Err(ErrorObject::batches_off()),
        count if count > batch_calls_max => Err(ErrorObject::batch_too_large(count, batch_calls_max)),
        _ => Ok(Message::Batch(members.into_iter().map(read_call).collect())),
    }
}

#[derive(Deserialize)]
struct RawCall<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
}

/// Tells `null` from absent, which `Option` alone does not: an id of null asks for an answer, no id asks for none.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

fn read_call(value: &RawValue) -> Result<Call<'_>, Refused<'_>> {
    if !value.get().starts_with('{') {
        return Err(Refused { id: None, error: ErrorObject::invalid_request("a request is an object") });
    }
    let raw: RawCall<'_> = serde_json::from_str(value.get())
        .map_err(|error| Refused { id: None, error: ErrorObject::invalid_request(error) })?;
    if raw.id.is_some_and(|id| !is_id(id)) {
        let error = ErrorObject::invalid_request("an id is a string, a number or null");
        return Err(Refused { id: None, error });
    }
    let refuse = |reason: &str| Refused { id: raw.id, error: ErrorObject::invalid_request(reason) };
    if raw.jsonrpc.map(RawValue::get) != Some(r#""2.0""#) {
        return Err(refuse(r#"the member "jsonrpc" must be "2.0""#));
    }
    let method = raw.method.ok_or_else(|| refuse(r#"the member "method" is missing"#))?;
    let method = read_string(method).ok_or_else(|| refuse(r#"the member "method" must be a string"#))?;
    let params = raw.params.filter(|params| params.get() != "null");
    if params.is_some_and(|params| !params.get().starts_with(['[', '{'])) {
        return Err(refuse(r#"the member "params" must be an array or an object"#));
    }
    Ok(Call { id: raw.id, method, params })
}

fn is_id(id: &RawValue) -> bool {
    let text = id.get();
    text == "null" || text.starts_with(|first: char| first == '"' || first == '-' || first.is_ascii_digit())
}

fn read_string(value: &RawValue) -> Option<Cow<'_, str>> {
    if let Ok(text) = serde_json::from_str::<&str>(value.get()) {
        return Some(Cow::Borrowed(text));
    }
    serde_json::from_str::<String>(value.get()).ok().map(Cow::Owned)
}

/// The text of one response. `id` of `None` is written as null.
pub(crate) fn response(id: Option<&RawValue>, outcome: &Result<Box<RawValue>, ErrorObject>) -> String {
    let id = id.map_or("null", RawValue::get);
    match outcome {
        Ok(result) => format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{}}}"#, result.get()),
        Err(error) => format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{}}}"#, encode(error)),
    }
}

/// The text of a notification from us.
pub(crate) fn notification(method: &str, params: &RawValue) -> String {
    format!(r#"{{"jsonrpc":"2.0","method":{},"params":{}}}"#, encode(&method), params.get())
}

fn encode(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| r#"{"code":-32603,"message":"Internal error"}"#.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// How a message is understood, on one line.
    fn understood(text: &str) -> String {
        let one = |member: &Result<Call<'_>, Refused<'_>>| match member {
            Ok(call) => format!(
                "{}({}) id {}",
                call.method,
                call.params.map_or("", RawValue::get),
                call.id.map_or("none", RawValue::get)
            ),
            Err(refused) => format!("{} id {}", refused.error.code, refused.id.map_or("none", RawValue::get)),
        };
        match read(text.as_bytes(), 3) {
            Err(error) => format!("{}", error.code),
            Ok(Message::Single(member)) => one(&member),
            Ok(Message::Batch(members)) => members.iter().map(one).collect::<Vec<_>>().join("; "),
        }
    }

    #[test]
    fn messages_are_understood_as_the_specification_says() {
        let table = [
            (r#"{"jsonrpc":"2.0","method":"a","params":[1],"id":1}"#, "a([1]) id 1"),
            (r#" {"jsonrpc":"2.0","method":"a","params":{"x":1},"id":"s"}"#, r#"a({"x":1}) id "s""#),
            (r#"{"jsonrpc":"2.0","method":"a","id":null}"#, "a() id null"),
            (r#"{"jsonrpc":"2.0","method":"a","params":null,"id":-3}"#, "a() id -3"),
            (r#"{"jsonrpc":"2.0","method":"a"}"#, "a() id none"),
            (r#"{"jsonrpc":"2.0","method":"aA","id":12345678901234567890123}"#, "aA() id 12345678901234567890123"),
            (r#"{"jsonrpc":"2.0","method":"a","id":1,"extra":[]}"#, "a() id 1"),
            (r#"{"jsonrpc":"2.0","method":"a","params":3,"id":1}"#, "-32600 id 1"),
            (r#"{"jsonrpc":"2.0","method":7,"id":1}"#, "-32600 id 1"),
            (r#"{"jsonrpc":"2.0","id":1}"#, "-32600 id 1"),
            (r#"{"jsonrpc":"1.0","method":"a","id":1}"#, "-32600 id 1"),
            (r#"{"method":"a","id":1}"#, "-32600 id 1"),
            (r#"{"jsonrpc":"2.0","method":"a","id":[1]}"#, "-32600 id none"),
            (r#"{"jsonrpc":"2.0","method":"a","id":true}"#, "-32600 id none"),
            (r#"{"jsonrpc":"2.0","method":"a","method":"b","id":1}"#, "-32600 id none"),
            ("7", "-32600 id none"),
            ("", "-32700"),
            ("{", "-32700"),
            (r#"{"jsonrpc":"2.0","method":"a","id":1} x"#, "-32700"),
            ("[]", "-32600"),
            ("[1,", "-32700"),
            ("[1,2]", "-32600 id none; -32600 id none"),
            (r#"[{"jsonrpc":"2.0","method":"a","id":1},{}]"#, "a() id 1; -32600 id none"),
            ("[1,2,3,4]", "-32010"),
        ];
        for (text, expected) in table {
            assert_eq!(understood(text), expected, "for {text}");
        }
        assert_eq!(read(b"[1]", 0).err().map(|error| error.code), Some(-32005));
    }

    #[test]
    fn bytes_that_are_no_text_are_a_parse_error() {
        let error = read(b"{\"jsonrpc\":\"2.0\",\"method\":\"\xff\",\"id\":1}", 3).err();
        assert!(error.is_none_or(|error| error.code == -32700));
        assert_eq!(read(b"\xff\xfe", 3).err().map(|error| error.code), Some(-32700));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes, 3);
        }

        #[test]
        fn responses_are_json(message in ".*", id in any::<i64>()) {
            let id = to_raw_value(&id).unwrap();
            let text = response(Some(&id), &Err(ErrorObject::new(1, message.clone()).with_data(message.clone())));
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(value["error"]["message"].as_str(), Some(message.as_str()));
        }
    }
}
