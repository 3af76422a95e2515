//! `/openapi.json`, made from the operations.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::json;
use utoipa::openapi::path::{OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ComponentsBuilder, ObjectBuilder, Type};
use utoipa::openapi::{
    ContentBuilder, HeaderBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Paths, Ref, RefOr, Required,
    Response, ResponseBuilder, Schema,
};

use super::errors::Code;
use super::operation::{About, Content, Describe, Given, Operation, Takes};
use super::query::Param;

/// The document of these operations.
pub(super) fn document(operations: &[&'static Operation]) -> Bytes {
    let mut schemas = BTreeMap::new();
    schemas.insert("Problem".to_owned(), problem_schema());
    let mut paths = Paths::new();
    for operation in operations {
        let documented = operation_of(operation, &mut schemas);
        paths.add_path_operation(operation.path, vec![operation.verb.documented()], documented);
    }
    let document: OpenApi = OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Sidetalk")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(DESCRIPTION)),
        )
        .paths(paths)
        .components(Some(ComponentsBuilder::new().schemas_from_iter(schemas).build()))
        .build();
    document.to_json().unwrap_or_default().into()
}

const DESCRIPTION: &str = "Sessions, documents, counters and sets that every sidecar of a cluster shares. \
    Keys are 1 to 512 bytes of UTF-8, percent-encoded as one path segment. HEAD works wherever GET does. \
    Whatever goes wrong is answered with a problem document (RFC 9457) whose `code` is stable; nothing has changed \
    then, except with `not_enough_acks`: the write stays. A path that does not exist is 404 `no_such_path`, a method \
    that a path does not take 405 `method_not_allowed`.";

type Schemas = BTreeMap<String, RefOr<Schema>>;

fn operation_of(operation: &Operation, schemas: &mut Schemas) -> utoipa::openapi::path::Operation {
    let mut builder = OperationBuilder::new()
        .operation_id(Some(operation.id))
        .summary(Some(operation.summary))
        .tag(operation.tag());
    for parameter in path_parameters(operation.path) {
        builder = builder.parameter(parameter);
    }
    for &param in operation.query {
        builder = builder.parameter(query_parameter(param));
    }
    for (name, meaning) in operation.headers.iter().copied().flatten() {
        builder = builder.parameter(string_parameter(name, ParameterIn::Header, meaning));
    }
    if let Some(takes) = &operation.takes {
        builder = builder.request_body(Some(request_body(takes, schemas)));
    }
    for given in operation.given {
        builder = builder.response(given.status.to_string(), given_response(operation, given, schemas));
    }
    for (status, response) in problem_responses(operation) {
        builder = builder.response(status, response);
    }
    builder.build()
}

fn path_parameters(path: &str) -> impl Iterator<Item = Parameter> + '_ {
    path.split('/').filter_map(|segment| {
        let name = segment.strip_prefix('{')?.strip_suffix('}')?;
        let meaning = match name {
            "kind" => "sessions, documents, counters, or sets.",
            "node" => "A node's name, percent-encoded as one segment.",
            "member" => "Up to 4096 bytes of UTF-8, percent-encoded as one segment.",
            _ => "1 to 512 bytes of UTF-8, percent-encoded as one segment.",
        };
        Some(string_parameter(name, ParameterIn::Path, meaning))
    })
}

fn string_parameter(name: &str, place: ParameterIn, meaning: &str) -> Parameter {
    let required = if place == ParameterIn::Path { Required::True } else { Required::False };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .description(Some(meaning))
        .schema(Some(string()))
        .build()
}

fn string() -> Schema {
    ObjectBuilder::new().schema_type(Type::String).build().into()
}

fn query_parameter(param: Param) -> Parameter {
    let kind = match param {
        Param::Ttl | Param::Wait | Param::Timeout | Param::Limit => Type::Integer,
        Param::Siblings | Param::Initial => Type::Boolean,
        Param::Acks | Param::Prefix | Param::AfterKey | Param::AfterCursor | Param::Kind => Type::String,
    };
    ParameterBuilder::new()
        .name(param.name())
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(format!("{} It is {}.", param.meaning(), param.allowed())))
        .schema(Some(Schema::from(ObjectBuilder::new().schema_type(kind).build())))
        .build()
}

fn schema_ref(describe: Describe, schemas: &mut Schemas) -> RefOr<Schema> {
    let described = describe();
    schemas.extend(described.parts);
    schemas.insert(described.name.clone(), described.schema);
    Ref::from_schema_name(described.name).into()
}

fn request_body(takes: &Takes, schemas: &mut Schemas) -> utoipa::openapi::request_body::RequestBody {
    let schema = schema_ref(takes.schema, schemas);
    let mut builder = RequestBodyBuilder::new().required(Some(Required::True));
    for media_type in takes.media_types {
        let schema = match *media_type {
            super::body::OPS => {
                let operation = schema_ref(super::operation::of::<super::path_ops::PathOperation>, schemas);
                Schema::Array(utoipa::openapi::schema::ArrayBuilder::new().items(operation).build()).into()
            }
            _ => schema.clone(),
        };
        builder = builder.content(*media_type, ContentBuilder::new().schema(Some(schema)).build());
    }
    builder.build()
}

fn given_response(operation: &Operation, given: &Given, schemas: &mut Schemas) -> Response {
    let mut builder = ResponseBuilder::new().description(given.when);
    match given.content {
        Content::None => {}
        Content::Json(describe) => {
            let schema = schema_ref(describe, schemas);
            builder = builder.content("application/json", ContentBuilder::new().schema(Some(schema)).build());
        }
        Content::Other(media_type) => {
            builder = builder.content(media_type, ContentBuilder::new().schema(Some(string())).build());
        }
    }
    if operation.about == About::Object {
        for (name, meaning) in OBJECT_HEADERS {
            let header = HeaderBuilder::new().schema(Some(string())).description(Some(*meaning)).build();
            builder = builder.header(*name, header);
        }
    }
    builder.build()
}

const OBJECT_HEADERS: &[(&str, &str)] = &[
    ("Sidetalk-Token", "Send it back in Sidetalk-After, to any node, and never see a state older than this."),
    (
        "ETag",
        "Stands for the content and the life of the object on this node. Not on answers that do not read it.",
    ),
    ("Sidetalk-Life", "Of a leased object: the life it is in."),
    ("Sidetalk-Expires-In", "Of a leased object: whole seconds until it expires."),
    ("Sidetalk-Behind", "`true` when the node could not catch up in time, or could not ask every node."),
    ("Sidetalk-Acks", "With `acks`: how many nodes have applied the write."),
    ("Preference-Applied", "`return=minimal` when the answer is without a body for that."),
    ("Idempotency-Replayed", "`true` when this is the first answer to the same request, given again."),
];

fn problem_responses(operation: &Operation) -> Vec<(String, Response)> {
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in operation.codes() {
        by_status.entry(code.facts().status.as_u16()).or_default().push(code);
    }
    by_status.into_iter().map(|(status, codes)| (status.to_string(), problem_response(&codes))).collect()
}

fn problem_response(codes: &[Code]) -> Response {
    let lines: Vec<String> =
        codes.iter().map(|code| format!("`{}`: {}.", code.facts().name, code.facts().title)).collect();
    let names: Vec<&str> = codes.iter().map(|code| code.facts().name).collect();
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new()
        .description(lines.join(" "))
        .content("application/problem+json", content)
        .extensions(Some(utoipa::openapi::extensions::ExtensionsBuilder::new().add("x-codes", names).build()))
        .build()
}

fn problem_schema() -> RefOr<Schema> {
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.facts().name).collect();
    let text =
        |description: &str| ObjectBuilder::new().schema_type(Type::String).description(Some(description));
    ObjectBuilder::new()
        .description(Some(
            "What went wrong (RFC 9457). Some codes have more members, such as `at` or `parameter`.",
        ))
        .property("type", text("`urn:sidetalk:problem:` and the code."))
        .required("type")
        .property("title", text("The code in words."))
        .required("title")
        .property("status", ObjectBuilder::new().schema_type(Type::Integer))
        .required("status")
        .property("code", text("Stable.").enum_values(Some(codes)))
        .required("code")
        .property("detail", text("What is special about this time."))
        .required("detail")
        .property("fault", text("Who must act.").enum_values(Some(["caller", "node", "cluster"])))
        .required("fault")
        .property(
            "changed",
            ObjectBuilder::new()
                .schema_type(Type::Boolean)
                .description(Some("Whether the state has changed; null when nobody knows.")),
        )
        .property(
            "allowed",
            ObjectBuilder::new().description(Some("What would be right.")).examples([json!(["ttl", "wait"])]),
        )
        .into()
}
