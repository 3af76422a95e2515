//! What `sidetalk dev` prints: who is there, and lines to paste into another terminal.

use std::path::Path;

use super::super::show;
use super::Seat;

const JSON: &str = "-H content-type:application/json";

/// The table of nodes and what to try with them.
pub(super) fn guide(seats: &[Seat], pids: &[u32], sidetalk: &str) -> String {
    let mut rows = vec![["NODE", "API", "GOSSIP", "PROCESS"].map(str::to_owned).to_vec()];
    for (seat, pid) in seats.iter().zip(pids) {
        rows.push(vec![seat.name(), format!("http://{}", seat.api()), seat.gossip(), pid.to_string()]);
    }
    let (first, last) = (&seats[0], &seats[seats.len() - 1]);
    let (a, z) = (first.api(), last.api());
    let mut text = format!("\n{}\n", show::table(&rows));
    text += &format!(
        "Try in another terminal:\n\n\
         # A session, written on {first_name}, read on {last_name}\n\
         curl -X PUT 'http://{a}/v1/sessions/s1?ttl=3600' {JSON} -d '{{\"user\":\"ada\",\"cart\":{{\"apples\":1}}}}'\n\
         curl http://{z}/v1/sessions/s1\n\
         {sidetalk} patch sessions/s1 '{{\"cart\":{{\"pears\":2}}}}' --api {z}\n\
         {sidetalk} get sessions/s1 --api {a}\n",
        first_name = first.name(),
        last_name = last.name(),
    );
    if seats.len() > 1 {
        text += &partition(seats, sidetalk);
    }
    text += &format!(
        "\n# Log out anywhere: it is gone everywhere, for good\n\
         curl -X DELETE http://{z}/v1/sessions/s1\n\
         curl http://{a}/v1/sessions/s1\n\
         \n# Who is there, and how far behind\n\
         {sidetalk} members --api {a}\n\
         {sidetalk} status --api {a}\n\
         \nCtrl-C stops all nodes and forgets everything.\n"
    );
    text
}

fn partition(seats: &[Seat], sidetalk: &str) -> String {
    let (last, others) = (&seats[seats.len() - 1], &seats[..seats.len() - 1]);
    let (a, z) = (others[0].api(), last.api());
    let blocked: Vec<_> =
        others.iter().map(|seat| format!("\"{}\":{{\"blocked\":true}}", seat.name())).collect();
    format!(
        "\n# Cut {name} off, count on both sides, heal: nothing is lost\n\
         curl -X PUT http://{z}/v1/chaos {JSON} -d '{{\"peers\":{{{blocked}}}}}'\n\
         {sidetalk} incr counters/visits 5 --api {a}\n\
         {sidetalk} incr counters/visits 3 --api {z}\n\
         curl -X DELETE http://{z}/v1/chaos\n\
         {sidetalk} get counters/visits --api {a}\n",
        name = last.name(),
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
