//! The nodes of a cluster, with what is around them: a crossing before each, by which it can be parted from each other one, a
//! clock and devices of its own.

use std::net::{IpAddr, SocketAddr};

use thermocline_faults::{Crossing, Fault, Rule, Signal, Surroundings, signal};

use crate::hand::Hosts;
use crate::support::{AroundError, Node, Place, host};

pub const NODES: usize = 4;
/// What of a node others connect to: its data plane, its replicas.
const CROSSED: [u16; 2] = [7400, 7403];

pub struct Members {
    nodes: Vec<Node>,
    hosts: Vec<IpAddr>,
    /// Before each node.
    crossings: Vec<Vec<Crossing>>,
    /// Whether a node may have stopped taking writes, since one of its devices was full.
    excused: Vec<bool>,
}

fn address(host: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(host, port)
}

fn numbered(first: usize) -> Vec<String> {
    (first..first + NODES).map(|number| host(u8::try_from(number).unwrap())).collect()
}

impl Members {
    /// Starts the nodes on addresses that no other number has.
    pub async fn start(number: u8) -> (Self, Hosts) {
        let first = 10 + 40 * usize::from(number);
        let (own, advertised) = (numbered(first), numbered(first + 20));
        let parsed = |hosts: &[String]| -> Vec<IpAddr> { hosts.iter().map(|host| host.parse().unwrap()).collect() };
        let (hosts, before) = (parsed(&own), parsed(&advertised));
        let mut crossings = Vec::new();
        for (host, before) in hosts.iter().zip(before) {
            let mut ways = Vec::new();
            for port in CROSSED {
                let open = Crossing::open(address(before, port), address(*host, port), hosts.iter().copied());
                ways.push(open.await.unwrap());
            }
            crossings.push(ways);
        }
        let seeds: Vec<String> = advertised.iter().map(|host| format!("{host}:7403")).collect();
        let starts = own.iter().zip(&advertised).enumerate().map(|(number, (host, advertise))| {
            let place = Place { name: format!("node-{number}"), host, advertise, seeds: &seeds };
            Node::start_one_of(&place)
        });
        let nodes = tokio::task::block_in_place(|| starts.collect());
        (Self { nodes, hosts, crossings, excused: vec![false; NODES] }, Hosts { own, advertised })
    }

    /// What passes between two nodes, forward from `one`: connections of either of them.
    fn between(&self, one: usize, other: usize, rule: Rule) {
        for crossing in &self.crossings[other] {
            crossing.set(self.hosts[one], rule);
        }
        for crossing in &self.crossings[one] {
            crossing.set(self.hosts[other], rule.reversed());
        }
    }

    fn around(&self, one: usize, rule: Rule) {
        for other in (0..NODES).filter(|other| *other != one) {
            self.between(one, other, rule);
        }
    }

    /// Lets a device of a node have no space, or have it again.
    pub fn fill_up(&self, node: usize, device: usize, full: bool) {
        self.nodes[node].fill_up(device, full).unwrap();
    }

    /// Starts nodes again that a full device has ended, as whoever watches over them would. Nothing else may end one.
    fn watch_over(&mut self) {
        for (number, node) in self.nodes.iter_mut().enumerate() {
            let Some(reason) = node.is_out() else { continue };
            assert!(self.excused[number], "node {number}: {reason}\n{}", node.log());
            println!("node {number} is started again: {reason}");
            node.kill();
            node.restart();
        }
    }

    /// After the last fault: every node serves.
    pub async fn must_all_serve(mut self) -> Self {
        let watched = tokio::task::spawn_blocking(move || {
            self.watch_over();
            self
        });
        watched.await.unwrap()
    }
}

impl Surroundings for Members {
    type Error = AroundError;

    fn begin(&mut self, fault: &Fault) -> Result<(), AroundError> {
        match fault {
            Fault::Kill { process } => self.nodes[*process].kill(),
            Fault::Pause { process } => signal(self.nodes[*process].child.id(), Signal::STOP)?,
            Fault::Clock { process, seconds } => self.nodes[*process].clock().jump(*seconds)?,
            Fault::Between { one, other, rule } => self.between(*one, *other, *rule),
            Fault::Around { process, rule } => self.around(*process, *rule),
            Fault::Full { process, device } => {
                self.excused[*process] = true;
                self.nodes[*process].fill_up(*device, true)?;
            }
            Fault::Slow { process, device, bytes } => self.nodes[*process].slow_down(*device, Some(*bytes))?,
            Fault::Link { .. } => panic!("there are no links"),
        }
        Ok(())
    }

    fn end(&mut self, fault: &Fault) -> Result<(), AroundError> {
        match fault {
            Fault::Kill { process } => self.nodes[*process].restart(),
            Fault::Pause { process } => signal(self.nodes[*process].child.id(), Signal::CONT)?,
            Fault::Clock { process, .. } => self.nodes[*process].clock().jump(0)?,
            Fault::Between { one, other, .. } => self.between(*one, *other, Rule::PASS),
            Fault::Around { process, .. } => self.around(*process, Rule::PASS),
            Fault::Full { process, device } => self.nodes[*process].fill_up(*device, false)?,
            Fault::Slow { process, device, .. } => self.nodes[*process].slow_down(*device, None)?,
            Fault::Link { .. } => panic!("there are no links"),
        }
        self.watch_over();
        Ok(())
    }
}
