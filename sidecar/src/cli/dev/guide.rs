//! What `sidetalk dev` prints: who is there, and lines to paste into another terminal.

use std::path::Path;

use super::super::listening::Listening;
use super::super::show;

const JSON: &str = "-H content-type:application/json";

/// The table of nodes, each with its process, and what to try with them. There is at least one.
pub(super) fn guide(nodes: &[(Listening, u32)], sidetalk: &str) -> String {
    let mut rows = vec![["NODE", "API", "GOSSIP", "PROCESS"].map(str::to_owned).to_vec()];
    for (node, pid) in nodes {
        rows.push(vec![
            node.node.clone(),
            format!("http://{}", node.api),
            node.gossip.clone(),
            pid.to_string(),
        ]);
    }
    let mut text = format!("\n{}\n", show::table(&rows));
    let ([(first, _), ..], [.., (last, _)]) = (nodes, nodes) else { return text };
    let (a, z) = (&first.api, &last.api);
    text += &format!(
        "Try in another terminal:\n\n\
         # A session, written on {first_name}, read on {last_name}\n\
         curl -w '\\n' -X PUT 'http://{a}/v1/sessions/s1?ttl=3600' {JSON} -d '{{\"user\":\"ada\",\"cart\":{{\"apples\":1}}}}'\n\
         curl -w '\\n' http://{z}/v1/sessions/s1\n\
         {sidetalk} patch sessions/s1 '{{\"cart\":{{\"pears\":2}}}}' --api {z}\n\
         {sidetalk} get sessions/s1 --api {a}\n",
        first_name = first.node,
        last_name = last.node,
    );
    if nodes.len() > 1 {
        text += &partition(&nodes[..nodes.len() - 1], a, last, sidetalk);
    }
    text += &format!(
        "\n# Log out anywhere: it is gone everywhere, for good\n\
         curl -X DELETE http://{z}/v1/sessions/s1\n\
         curl -w '\\n' http://{a}/v1/sessions/s1\n\
         \n# Who is there, and how far behind\n\
         {sidetalk} members --api {a}\n\
         {sidetalk} status --api {a}\n\
         \nCtrl-C stops all nodes and forgets everything.\n"
    );
    text
}

fn partition(others: &[(Listening, u32)], a: &str, last: &Listening, sidetalk: &str) -> String {
    let blocked: Vec<_> =
        others.iter().map(|(node, _)| format!("\"{}\":{{\"blocked\":true}}", node.node)).collect();
    format!(
        "\n# Cut {name} off, count on both sides, heal: nothing is lost\n\
         curl -w '\\n' -X PUT http://{z}/v1/chaos {JSON} -d '{{\"peers\":{{{blocked}}}}}'\n\
         {sidetalk} incr counters/visits 5 --api {a}\n\
         {sidetalk} incr counters/visits 3 --api {z}\n\
         curl -X DELETE http://{z}/v1/chaos; sleep 2\n\
         {sidetalk} get counters/visits --api {a}\n",
        name = last.node,
        z = last.api,
        blocked = blocked.join(","),
    )
}

/// How the user can call this program: by its name where the shell finds it, else by its path.
pub(super) fn own_name() -> String {
    let Ok(program) = std::env::current_exe() else { return "sidetalk".to_owned() };
    let on_path = |directory: &Path| program.parent() == Some(directory);
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|directory| on_path(&directory)) {
        return "sidetalk".to_owned();
    }
    let here = std::env::current_dir().ok();
    let shown = here.and_then(|here| program.strip_prefix(here).ok()).unwrap_or(&program);
    shown.display().to_string()
}
