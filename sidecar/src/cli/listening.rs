//! The one line on standard output that says where a node listens: programs that start a node wait for it.

/// Where a node listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listening {
    /// The node's name.
    pub(super) node: String,
    /// Its API, as IP:PORT or unix:PATH.
    pub(super) api: String,
    /// Where it gossips, as IP:PORT.
    pub(super) gossip: String,
}

impl Listening {
    /// The line. Part of the contract: it may grow further fields, and changes in no other way.
    pub(super) fn line(&self) -> String {
        let scheme = if self.api.starts_with("unix:") { "" } else { "http://" };
        format!(
            "sidetalk ready-to-accept node={} api={scheme}{} gossip={}\n",
            self.node, self.api, self.gossip
        )
    }

    /// What a line says, if it is one.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let fields = line.strip_prefix("sidetalk ready-to-accept ")?;
        let field = |name: &str| {
            fields.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
        };
        let api = field("api")?;
        let api = api.strip_prefix("http://").map_or_else(|| api.clone(), str::to_owned);
        Some(Self { node: field("node")?, api, gossip: field("gossip")? })
    }
}
