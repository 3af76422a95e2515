//! `application/vnd.sidetalk.ops+json`: a list of operations on paths, for what a merge patch cannot say.

use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::body::{bad_json, present, tree};
use super::call::check_member;
use super::errors::{Code, Problem};
use crate::core::command::PathOp;
use crate::core::limits::{DEPTH_MAX, PATH_OPS_MAX};
use crate::core::path::Path;
use crate::core::value::JsonText;

/// One operation: `set` (a value), `unset`, `incr` (an integer), `add` and `remove` (a member of a set).
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PathOperation {
    /// What it does.
    op: OpName,
    /// Where: object keys, the root first.
    path: Vec<String>,
    /// Of `set`: the value. It may be null, or an object.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    value: Option<Box<RawValue>>,
    /// Of `incr`: how much, 1 if it is left out.
    #[serde(default)]
    by: Option<i64>,
    /// Of `add` and `remove`: the member.
    #[serde(default)]
    member: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum OpName {
    Set,
    Unset,
    Incr,
    Add,
    Remove,
}

/// Parses a list of operations.
///
/// # Errors
/// Those of a JSON body, and `bad_body` with the place of the operation that is wrong.
pub(super) fn parse(body: &[u8]) -> Result<Vec<PathOp>, Problem> {
    let text = std::str::from_utf8(body)
        .map_err(|error| Problem::new(Code::BadJson, format!("the body is not UTF-8: {error}")))?;
    // Two levels more: the list and the operation around each value.
    JsonText::parse(text, DEPTH_MAX + 2).map_err(bad_json)?;
    let operations: Vec<Box<RawValue>> = serde_json::from_str(text).map_err(|error| {
        Problem::new(Code::BadBody, format!("the body is no list of operations: {error}"))
    })?;
    if operations.len() > PATH_OPS_MAX {
        let detail = format!("there are {} operations", operations.len());
        return Err(
            Problem::new(Code::BadBody, detail).with("allowed", format!("up to {PATH_OPS_MAX} operations"))
        );
    }
    operations
        .iter()
        .enumerate()
        .map(|(at, raw)| operation(raw).map_err(|problem| problem.with("at", at)))
        .collect()
}

fn operation(raw: &RawValue) -> Result<PathOp, Problem> {
    let bad = |why: String| Problem::new(Code::BadBody, why).with("allowed", ALLOWED);
    let operation: PathOperation = serde_json::from_str(raw.get()).map_err(|error| bad(error.to_string()))?;
    let PathOperation { op, path, value, by, member } = operation;
    if path.len() > DEPTH_MAX {
        return Err(Problem::new(Code::TooDeep, "the path has too many segments"));
    }
    let path = Path::of(path);
    let extra = |name: &str| Err(bad(format!("this operation takes no {name:?}")));
    match (op, value, by, member) {
        (OpName::Set, Some(value), None, None) => {
            Ok(PathOp::Set { path, value: tree(value.get().as_bytes())? })
        }
        (OpName::Unset, None, None, None) => Ok(PathOp::Unset { path }),
        (OpName::Incr, None, by, None) => Ok(PathOp::Increment { path, by: by.unwrap_or(1) }),
        (OpName::Add, None, None, Some(member)) => {
            check_member(&member)?;
            Ok(PathOp::Add { path, member: member.into() })
        }
        (OpName::Remove, None, None, Some(member)) => {
            check_member(&member)?;
            Ok(PathOp::Remove { path, member: member.into() })
        }
        (OpName::Set, None, ..) => Err(bad("\"set\" needs a \"value\"".into())),
        (OpName::Add | OpName::Remove, .., None) => Err(bad("the operation needs a \"member\"".into())),
        (_, Some(_), ..) => extra("value"),
        (_, _, Some(_), _) => extra("by"),
        (.., Some(_)) => extra("member"),
    }
}

const ALLOWED: &str = "{\"op\":\"set\",\"path\":[...],\"value\":...}, {\"op\":\"unset\",\"path\":[...]}, \
    {\"op\":\"incr\",\"path\":[...],\"by\":1}, {\"op\":\"add\"|\"remove\",\"path\":[...],\"member\":\"...\"}";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::value::Tree;

    fn code(body: &str) -> Code {
        parse(body.as_bytes()).unwrap_err().code()
    }

    #[test]
    fn all_five_operations_are_read() {
        let body = r#"[{"op":"set","path":["a"],"value":null},{"op":"unset","path":["b","c"]},
            {"op":"incr","path":["n"]},{"op":"incr","path":["n"],"by":-5},
            {"op":"add","path":["s"],"member":"x"},{"op":"remove","path":["s"],"member":"y"}]"#;
        let expected = vec![
            PathOp::Set { path: Path::of(["a"]), value: Tree::Value(JsonText::null()) },
            PathOp::Unset { path: Path::of(["b", "c"]) },
            PathOp::Increment { path: Path::of(["n"]), by: 1 },
            PathOp::Increment { path: Path::of(["n"]), by: -5 },
            PathOp::Add { path: Path::of(["s"]), member: "x".into() },
            PathOp::Remove { path: Path::of(["s"]), member: "y".into() },
        ];
        assert_eq!(parse(body.as_bytes()).unwrap(), expected);
    }

    #[test]
    fn operations_that_say_too_little_or_too_much_are_refused() {
        for body in [
            "{}",
            r#"[{"op":"set","path":[]}]"#,
            r#"[{"op":"add","path":[]}]"#,
            r#"[{"op":"remove","path":[],"by":1}]"#,
            r#"[{"op":"unset","path":[],"value":1}]"#,
            r#"[{"op":"incr","path":[],"by":1.5}]"#,
            r#"[{"op":"incr","path":[],"by":9223372036854775808}]"#,
            r#"[{"op":"incr","path":[],"member":"x"}]"#,
            r#"[{"op":"test","path":[]}]"#,
            r#"[{"op":"unset"}]"#,
            r#"[{"op":"unset","path":"a"}]"#,
            r#"[{"op":"unset","path":[],"why":1}]"#,
            r#"[1]"#,
        ] {
            assert_eq!(code(body), Code::BadBody, "{body}");
        }
        assert_eq!(code(r#"[{"op":"set","path":[],"value":{"a":1,"a":2}}]"#), Code::DuplicateKey);
        assert_eq!(code("["), Code::BadJson);
        let long = serde_json::json!([{ "op": "add", "path": [], "member": "x".repeat(4_097) }]);
        assert_eq!(code(&long.to_string()), Code::BadMember);
        let many = format!("[{}]", vec![r#"{"op":"unset","path":[]}"#; PATH_OPS_MAX + 1].join(","));
        assert_eq!(code(&many), Code::BadBody);
        let deep = serde_json::json!([{ "op": "unset", "path": vec!["x"; 65] }]);
        assert_eq!(code(&deep.to_string()), Code::TooDeep);
    }
}
