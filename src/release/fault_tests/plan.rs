//! Plans: what happens on a site, step by step, and the running of it.
//!
//! A publisher that has stopped isn't polled, so that neither its requests nor its timers go on, as in a process that is
//! stopped or starved. Waking it up later makes a zombie of it; never waking it is a crash. Time is simulated: it
//! passes when everybody waits, and in between requests nothing passes at all.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join;

use super::actors::{Actor, LEASE_TTL, Site, locked};
use super::data::Data;
use crate::release::clock;
use crate::release::progress::Progress;
use crate::store::{Fault, Place, Script, Store};

/// Longer than a lease is left alone.
pub const LEASE_OVER: Duration = LEASE_TTL.saturating_add(Duration::from_secs(40));
/// A few seconds before that.
pub const LEASE_SOON_OVER: Duration = LEASE_TTL.saturating_add(Duration::from_secs(25));
/// Longer than a lease outlives its holder, so that whoever comes after a crash takes it over in the end.
const PATIENCE: Duration = Duration::from_mins(5);
/// Longer than whatever is late can be on its way, by whichever clock.
pub const HOUR: Duration = Duration::from_hours(1);
/// Longer than any request can be on its way, so that what is found afterwards stays so.
pub const DAY: Duration = Duration::from_hours(24);
/// So old that it is pruned if nothing names it.
pub const WEEKS: Duration = Duration::from_hours(24 * 14);
/// Whoever has waited as long for others waits for ever.
const NEVER: Duration = Duration::from_hours(24 * 30);

/// One step of a plan. Actors are numbered in the order in which the plan lets them begin, from 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// The database changes.
    Data(Data),
    /// Somebody acts undisturbed, to the end.
    Run(Actor),
    /// Somebody who doesn't wait for others acts, and nothing happens to them.
    Rush(Actor),
    /// Somebody acts, and something happens to the request of this number; to the end, or until the process stops there.
    Begin(Actor, Place, Fault),
    /// A process that stopped goes on, to its end.
    Wake(usize),
    /// The same, and another begins beside it; they take turns request by request.
    WakeBeside(usize, Actor),
    /// A process that stopped is gone for ever.
    Kill(usize),
    /// Somebody presses Ctrl-C, and a process that stopped goes on.
    Interrupt(usize),
    /// Time passes.
    Pass(Duration),
    /// Every request that is late arrives.
    Deliver,
}

/// Somebody at work.
struct Worker {
    store: Arc<Store>,
    progress: Arc<Progress>,
    future: Pin<Box<dyn Future<Output = ()>>>,
}

/// A plan being carried out.
pub struct Stage {
    pub site: Rc<Site>,
    workers: Vec<Option<Worker>>,
    /// Requests that each of them has sent.
    pub sent: Vec<usize>,
    /// Set if somebody never came to an end.
    pub hangs: bool,
}

/// How far a worker has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    Stop,
    End,
    Nothing,
}

impl Worker {
    fn new(site: &Rc<Site>, actor: Actor, script: Script, patience: Duration) -> Worker {
        let store = site.enter(actor, script, patience);
        let progress = Arc::new(Progress::default());
        let (its_site, its_store, its_progress) = (Rc::clone(site), Arc::clone(&store), Arc::clone(&progress));
        let future = Box::pin(async move { Box::pin(its_site.act(&its_store, &its_progress)).await });
        Worker { store, progress, future }
    }

    /// Lets it work until it stops or ends.
    async fn go(&mut self) -> Reached {
        let work = async {
            tokio::select! {
                biased;
                () = self.store.faulty().stopped() => Reached::Stop,
                // It has put down its work because of a signal, and its process ends.
                () = self.progress.stopped() => Reached::End,
                () = &mut self.future => Reached::End,
            }
        };
        tokio::time::timeout(NEVER, work).await.unwrap_or(Reached::Nothing)
    }
}

impl Stage {
    pub fn new(site: Site) -> Stage {
        let mut world = locked(&site.world);
        world.go_on();
        clock::simulate(world.time_of_day());
        drop(world);
        Stage { site: Rc::new(site), workers: Vec::new(), sent: Vec::new(), hangs: false }
    }

    /// Carries out a plan.
    pub async fn play(&mut self, plan: &[Step]) {
        for step in plan {
            self.step(*step).await;
        }
    }

    /// Ends everybody, lets the network come to rest, and adds a night to recover in and two clean ones over unchanged
    /// data. What is wrong after that is wrong for ever.
    pub async fn settle(&mut self) {
        self.workers.iter_mut().for_each(|worker| drop(worker.take()));
        // The first recovers: it may take over a dead one's lease, after which paths are in doubt that the second looks at.
        for _ in 0..3 {
            self.play(&[Step::Pass(DAY), Step::Deliver, Step::Run(Actor::Nightly)]).await;
        }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Data(data) => locked(&self.site.database).set(data),
            Step::Run(actor) => self.begin(actor, Script::default(), PATIENCE).await,
            Step::Rush(actor) => self.begin(actor, Script::default(), Duration::ZERO).await,
            Step::Begin(actor, place, fault) => self.begin(actor, Script::new([(place, fault)]), PATIENCE).await,
            Step::Wake(number) => self.wake(number).await,
            Step::WakeBeside(number, actor) => self.wake_beside(number, actor).await,
            Step::Kill(number) => drop(self.stopped(number)),
            Step::Interrupt(number) => {
                if let Some(Some(worker)) = self.workers.get(number) {
                    worker.progress.stop();
                }
                self.wake(number).await;
            }
            Step::Pass(time) => tokio::time::advance(time).await,
            Step::Deliver => locked(&self.site.world).deliver(),
        }
    }

    async fn begin(&mut self, actor: Actor, script: Script, patience: Duration) {
        let worker = Worker::new(&self.site, actor, script, patience);
        let number = self.workers.len();
        self.sent.push(0);
        self.workers.push(None);
        self.go(number, worker).await;
    }

    /// A process that has stopped, if this one has.
    fn stopped(&mut self, number: usize) -> Option<Worker> {
        self.workers.get_mut(number)?.take()
    }

    async fn wake(&mut self, number: usize) {
        if let Some(worker) = self.stopped(number) {
            worker.store.faulty().wake();
            self.go(number, worker).await;
        }
    }

    async fn wake_beside(&mut self, number: usize, actor: Actor) {
        let Some(mut one) = self.stopped(number) else { return };
        one.store.faulty().wake();
        let mut other = Worker::new(&self.site, actor, Script::default(), PATIENCE);
        let reached = join(one.go(), other.go()).await;
        self.sent.push(0);
        self.workers.push(None);
        let other_number = self.workers.len() - 1;
        self.keep(number, one, reached.0);
        self.keep(other_number, other, reached.1);
    }

    async fn go(&mut self, number: usize, mut worker: Worker) {
        let reached = worker.go().await;
        self.keep(number, worker, reached);
    }

    fn keep(&mut self, number: usize, worker: Worker, reached: Reached) {
        self.sent[number] = worker.store.faulty().sent();
        self.hangs |= reached == Reached::Nothing;
        self.workers[number] = Some(worker).filter(|_| reached == Reached::Stop);
    }
}
