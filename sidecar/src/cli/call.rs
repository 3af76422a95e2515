//! The commands that make one call and print its answer.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use serde_json::value::RawValue;
use sidetalk_client as client;
use sidetalk_client::{Answer, Client, Kind, ObjectName, PathOp, Token};

use super::args::{
    BodyArgs, Call, CallArgs, ExplainArgs, GetArgs, IncrArgs, MembersArgs, ObjectArgs, WriteArgs,
};
use super::failure::Failure;
use super::show;

type Raw = Box<RawValue>;

/// Makes the call and prints what it gave.
pub(super) async fn call(call: Call) -> Result<(), Failure> {
    match call {
        Call::Get(args) => get(args).await,
        Call::Set(args) => {
            let (object, body) = tree(&args)?;
            write(object.put(&body), &args.write).await
        }
        Call::Patch(args) => {
            let (object, body) = tree(&args)?;
            write(object.patch(&body), &args.write).await
        }
        Call::Incr(args) => incr(args).await,
        Call::Add(args) => members(args, true).await,
        Call::Remove(args) => members(args, false).await,
        Call::Destroy(ObjectArgs { object, write: args }) => {
            write(connect(&args.call)?.object(object).destroy(), &args).await
        }
        Call::Explain(ExplainArgs { object, api }) => {
            let answer = api.client()?.object(object).explain().typed::<Raw>().await?;
            show::json(answer.value.get())
        }
    }
}

async fn get(GetArgs { object, call: args }: GetArgs) -> Result<(), Failure> {
    let call = connect(&args)?.object(object).get();
    print(refine(call.typed(), &args).await?, &args)
}

async fn incr(IncrArgs { object, amount, at, write: args }: IncrArgs) -> Result<(), Failure> {
    let client = connect(&args.call)?;
    match place(&object, at.as_deref(), Kind::Counters)? {
        None => write(client.counter(&object.key).add(amount), &args).await,
        Some(path) => write(client.object(object).ops(&[PathOp::Incr { path, by: amount }]), &args).await,
    }
}

async fn members(args: MembersArgs, add: bool) -> Result<(), Failure> {
    let MembersArgs { object, members, at, write: args } = args;
    let client = connect(&args.call)?;
    let Some(path) = place(&object, at.as_deref(), Kind::Sets)? else {
        let (added, removed) = if add { (members, Vec::new()) } else { (Vec::new(), members) };
        return write(client.set(&object.key).change(&added, &removed), &args).await;
    };
    let op = |member| match add {
        true => PathOp::Add { path: path.clone(), member },
        false => PathOp::Remove { path: path.clone(), member },
    };
    let ops: Vec<_> = members.into_iter().map(op).collect();
    write(client.object(object).ops(&ops), &args).await
}

/// The path inside a session or document; none for an object of the kind that stands alone.
fn place(object: &ObjectName, at: Option<&str>, alone: Kind) -> Result<Option<Vec<String>>, Failure> {
    let tree = matches!(object.kind, Kind::Sessions | Kind::Documents);
    match at {
        None if object.kind == alone => Ok(None),
        None if tree => Err(Failure::Usage(format!("say where in {object}: --at /key"))),
        Some(pointer) if tree => parse_pointer(pointer).map(Some),
        _ => Err(Failure::Usage(format!(
            "{object} does not take this; {alone}, sessions and documents do, the latter two with --at"
        ))),
    }
}

/// A JSON pointer (RFC 6901), not to the whole document.
pub(super) fn parse_pointer(pointer: &str) -> Result<Vec<String>, Failure> {
    match pointer.strip_prefix('/') {
        Some(path) => Ok(path.split('/').map(|part| part.replace("~1", "/").replace("~0", "~")).collect()),
        None => Err(Failure::Usage(format!(
            "--at {pointer:?} is no JSON pointer; it begins with a slash, such as /visits"
        ))),
    }
}

fn connect(args: &CallArgs) -> Result<Client, Failure> {
    Ok(args.api.client()?)
}

fn tree(args: &BodyArgs) -> Result<(client::Object, Raw), Failure> {
    let text = match args.json.as_str() {
        "-" => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            text
        }
        text => text.to_owned(),
    };
    let body = RawValue::from_string(text)
        .map_err(|error| Failure::Usage(format!("the body is no JSON: {error}")))?;
    Ok((connect(&args.write.call)?.object(args.object.clone()), body))
}

fn refine<T>(mut call: client::Call<T>, args: &CallArgs) -> client::Call<T> {
    let tokens: Vec<_> = args.after.iter().cloned().map(Token).collect();
    call = call.after(&tokens);
    match args.wait {
        Some(millis) => call.wait(Duration::from_millis(millis)),
        None => call,
    }
}

async fn write<T>(call: client::Call<T>, args: &WriteArgs) -> Result<(), Failure> {
    let mut call = refine(call.typed::<Raw>(), &args.call);
    if let Some(seconds) = args.ttl {
        call = call.ttl_seconds(seconds);
    }
    if let Some(life) = &args.life {
        call = call.life(life);
    }
    if let Some(acks) = args.acks {
        call = call.acks(acks, Duration::from_millis(args.timeout));
    }
    print(call.await?, &args.call)
}

fn print(answer: Answer<Raw>, args: &CallArgs) -> Result<(), Failure> {
    if args.include {
        let mut err = std::io::stderr().lock();
        let lines = [
            ("token", answer.token.map(|token| token.0)),
            ("life", answer.life),
            ("expires-in", answer.expires_in_seconds.map(|seconds| seconds.to_string())),
            ("acks", answer.acks.map(|acks| acks.to_string())),
            ("etag", answer.etag),
        ];
        for (name, value) in lines {
            if let Some(value) = value {
                writeln!(err, "{name}: {value}")?;
            }
        }
    }
    if answer.behind {
        writeln!(std::io::stderr(), "sidetalk: the node could not catch up in time; this may be old")?;
    }
    // An answer without content has nothing to print.
    if answer.status == 204 { Ok(()) } else { show::json(answer.value.get()) }
}
