//! A cluster of processes, and what can be done to it.

use std::collections::BTreeMap;
use std::ops::Index;

use serde_json::Value;
use sidetalk_client::{Client, Fault, ObjectName};

use crate::node::Node;
use crate::wait::eventually;

/// How a cluster is set up.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Arguments of every node.
    pub arguments: Vec<String>,
    /// Further arguments of single nodes, by index.
    pub of_node: BTreeMap<usize, Vec<String>>,
}

impl Options {
    /// Arguments of every node, separated by spaces.
    #[must_use]
    pub fn new(arguments: &str) -> Self {
        Self { arguments: words(arguments), of_node: BTreeMap::new() }
    }

    /// Further arguments of one node, separated by spaces.
    #[must_use]
    pub fn node(mut self, index: usize, arguments: &str) -> Self {
        self.of_node.entry(index).or_default().extend(words(arguments));
        self
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Nodes n0, n1, … that know each other. Started with `--chaos`.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Option<Node>>,
    options: Options,
    /// What stands in the way between two nodes, the lower index first.
    faults: BTreeMap<(usize, usize), Fault>,
}

impl Index<usize> for Cluster {
    type Output = Node;

    fn index(&self, index: usize) -> &Node {
        self.nodes[index].as_ref().expect("the node runs")
    }
}

impl Cluster {
    /// Starts nodes and waits until all are ready and see each other.
    pub async fn start(nodes: usize) -> Self {
        Self::start_with(nodes, Options::default()).await
    }

    /// The same with options.
    pub async fn start_with(nodes: usize, options: Options) -> Self {
        let mut cluster = Self { nodes: Vec::new(), options, faults: BTreeMap::new() };
        for _ in 0..nodes {
            cluster.add_unready().await;
        }
        cluster.all_up().await;
        cluster
    }

    /// Starts one more node and waits until it is ready; gives its index.
    pub async fn add(&mut self) -> usize {
        let index = self.add_unready().await;
        self[index].ready().await;
        index
    }

    /// Starts one more node and waits until it listens; gives its index.
    pub async fn add_unready(&mut self) -> usize {
        let index = self.nodes.len();
        self.nodes.push(None);
        self.restart(index).await;
        index
    }

    /// Starts a node that does not run, and waits until it listens. It remembers nothing.
    pub async fn restart(&mut self, index: usize) {
        assert!(self.nodes[index].is_none(), "n{index} runs");
        let mut arguments = self.arguments();
        arguments.extend(self.options.of_node.get(&index).into_iter().flatten().cloned());
        self.nodes[index] = Some(Node::start(&format!("n{index}"), &arguments).await);
    }

    /// What every node is started with that joins now.
    fn arguments(&self) -> Vec<String> {
        let mut arguments = words("--chaos --log info,sidetalk=debug,chitchat=warn");
        arguments.extend(self.options.arguments.iter().cloned());
        for node in self.nodes.iter().flatten() {
            arguments.extend(["--join".to_owned(), node.gossip().to_owned()]);
        }
        arguments
    }

    /// `kill -9`.
    pub fn kill(&mut self, index: usize) {
        self.nodes[index].take().expect("the node runs").kill();
    }

    /// SIGTERM; waits until it has left, and gives its exit code.
    pub async fn terminate(&mut self, index: usize) -> i32 {
        self.nodes[index].take().expect("the node runs").terminate().await
    }

    /// SIGTERM; waits until it has left, and gives its exit code and the last line it has printed.
    pub async fn stop(&mut self, index: usize) -> (i32, String) {
        let mut node = self.nodes[index].take().expect("the node runs");
        let code = node.terminate().await;
        let line = eventually("it says how it has stopped", || async {
            node.said().pop().filter(|line| line.starts_with("sidetalk stopped ")).ok_or("nothing yet")
        });
        (code, line.await)
    }

    /// The same, and its log.
    pub async fn terminate_with_log(&mut self, index: usize) -> (i32, String) {
        let mut node = self.nodes[index].take().expect("the node runs");
        let code = node.terminate().await;
        (code, node.log().join("\n"))
    }

    /// Waits until a node has ended by itself; gives its exit code and its log.
    pub async fn ended(&mut self, index: usize) -> (i32, String) {
        let mut node = self.nodes[index].take().expect("the node runs");
        let code = node.ended().await;
        (code, node.log().join("\n"))
    }

    /// Starts one more process under the name of another node, beside the cluster, with the same options as all.
    pub async fn start_namesake(&self, index: usize) -> Node {
        Node::start(&format!("n{index}"), &self.arguments()).await
    }

    /// The nodes that run.
    pub fn running(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().flatten()
    }

    /// A client of a node.
    #[must_use]
    pub fn client(&self, index: usize) -> Client {
        self[index].client()
    }

    /// Clients of all nodes that run.
    #[must_use]
    pub fn clients(&self) -> Vec<Client> {
        self.running().map(Node::client).collect()
    }

    /// Waits until every running node is ready and sees every other one as up.
    pub async fn all_up(&self) {
        let names: Vec<_> = self.running().map(Node::name).collect();
        for node in self.running() {
            node.ready().await;
            eventually(&format!("{} sees {names:?} up", node.name()), || sees_up(node, &names)).await;
        }
    }

    /// Cuts the cluster into groups: nothing passes between them. Within them, all is well.
    pub async fn partition(&mut self, groups: &[&[usize]]) {
        let group = |node| groups.iter().position(|group| group.contains(&node));
        self.faults.clear();
        for low in 0..self.nodes.len() {
            for high in low + 1..self.nodes.len() {
                if group(low) != group(high) {
                    self.faults.insert((low, high), Fault { blocked: true, ..Fault::default() });
                }
            }
        }
        self.impose().await;
    }

    /// Puts a fault between two nodes, and leaves the others as they are.
    pub async fn fault(&mut self, one: usize, other: usize, fault: Fault) {
        self.faults.insert((one.min(other), one.max(other)), fault);
        self.impose().await;
    }

    /// Delays everything between all nodes, each way.
    pub async fn delay_all(&mut self, millis: u64) {
        for low in 0..self.nodes.len() {
            for high in low + 1..self.nodes.len() {
                self.faults.insert((low, high), Fault { delay_ms: millis, ..Fault::default() });
            }
        }
        self.impose().await;
    }

    /// Ends all faults and waits until the nodes see each other again.
    pub async fn heal(&mut self) {
        self.faults.clear();
        self.impose().await;
        self.all_up().await;
    }

    /// A cut holds from both sides, a delay would count twice.
    async fn impose(&self) {
        for (index, node) in self.nodes.iter().enumerate() {
            let Some(node) = node else { continue };
            let mine = |((low, high), fault): (&(usize, usize), &Fault)| {
                let other = if *low == index { *high } else { *low };
                let concerns = *low == index || (*high == index && fault.blocked);
                concerns.then(|| (format!("n{other}"), *fault))
            };
            let faults: BTreeMap<_, _> = self.faults.iter().filter_map(mine).collect();
            let client = node.client();
            let imposed = match faults.is_empty() {
                true => client.clear_chaos().await,
                false => client.set_chaos(&faults).await,
            };
            imposed.unwrap_or_else(|error| panic!("chaos on {}: {error}", node.name()));
        }
    }

    /// Waits until every running node shows this.
    pub async fn agree(&self, object: &str, want: &Value) {
        for node in self.running() {
            shows(node, object, want).await;
        }
    }

    /// Waits until no running node knows the object, or every one knows that it has ended.
    pub async fn gone(&self, object: &str) {
        for node in self.running() {
            eventually(&format!("{object} is gone on {}", node.name()), || async {
                match node.client().object(name(object)).get().await {
                    Err(error) if error.is_ended() || error.is_unknown() => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            })
            .await;
        }
    }
}

/// Waits until a node shows this.
async fn shows(node: &Node, object: &str, want: &Value) {
    eventually(&format!("{} shows {object} as {want}", node.name()), || async {
        match node.client().object(name(object)).get().await {
            Ok(answer) if answer.value == *want => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

async fn sees_up(node: &Node, names: &[&str]) -> Result<(), String> {
    let members = node.client().cluster().await.map_err(|error| error.to_string())?.value.members;
    let up = |name: &str| members.iter().any(|member| member.node == name && member.state == "up");
    if names.iter().all(|name| up(name)) { Ok(()) } else { Err(format!("{members:?}")) }
}

fn name(object: &str) -> ObjectName {
    object.parse().expect("the test names an object")
}
