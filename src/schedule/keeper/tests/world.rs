//! Daemons, a head, clocks and children, all of them simulated: a night passes in a moment.

use super::*;

/// When an instant of a test is.
pub fn at(text: &str) -> DateTime<Utc> {
    format!("{text}:00Z").parse().unwrap()
}

fn shown(instant: DateTime<Utc>) -> String {
    instant.format("%m-%dT%H:%M").to_string()
}

struct Daemon {
    name: &'static str,
    keeper: Keeper,
    /// How wrong its clock is.
    clock: TimeDelta,
    /// When each of its children ends, and how.
    children: BTreeMap<String, (DateTime<Utc>, Finish)>,
    run: String,
}

pub struct World {
    now: DateTime<Utc>,
    daemons: BTreeMap<usize, Daemon>,
    alive: Arc<Mutex<BTreeSet<String>>>,
    pub claims: Claims,
    pub is_away: bool,
    pub is_leased: bool,
    pub is_alone: bool,
    /// How often the head was written.
    pub written: usize,
    /// What was missed or lost.
    pub missed: Vec<String>,
    /// How often people were told that runs are missed or lost, can't begin, or can't be recorded.
    pub told: usize,
    pub works: Vec<Work>,
    /// How often a run of a schedule began while another was under way.
    pub overlaps: usize,
    begun: Vec<String>,
    takes: TimeDelta,
    answers: Vec<Finish>,
    started: usize,
}

impl World {
    pub fn new(now: &str) -> World {
        World {
            now: at(now),
            daemons: BTreeMap::new(),
            alive: Arc::default(),
            claims: Claims::new(),
            is_away: false,
            is_leased: false,
            is_alone: false,
            written: 0,
            missed: Vec::new(),
            told: 0,
            works: Vec::new(),
            overlaps: 0,
            begun: Vec::new(),
            takes: TimeDelta::seconds(20),
            answers: Vec::new(),
            started: 0,
        }
    }

    /// How long every attempt takes.
    pub fn takes(&mut self, length: Duration) {
        self.takes = TimeDelta::from_std(length).unwrap();
    }

    /// How the next attempts end; those after them are good.
    pub fn answers(&mut self, answers: impl IntoIterator<Item = (RunOutcome, Work)>) {
        self.answers = answers.into_iter().map(|(outcome, left)| Finish { outcome, left }).collect();
        self.answers.reverse();
    }

    pub fn start(&mut self, name: &'static str, schedules: impl IntoIterator<Item = Schedule>) -> usize {
        self.start_at(name, "here", schedules)
    }

    pub fn start_at(
        &mut self,
        name: &'static str,
        place: &str,
        schedules: impl IntoIterator<Item = Schedule>,
    ) -> usize {
        self.started += 1;
        let run = format!("{name}-{}", self.started);
        let process = u32::try_from(self.started).unwrap();
        let me = Owner { host: "host".to_owned(), place: place.to_owned(), process, started: None, run: run.clone() };
        self.alive.lock().unwrap().insert(run.clone());
        let (alive, here) = (Arc::clone(&self.alive), place.to_owned());
        let is_alive = move |other: &Owner| (other.place == here).then(|| alive.lock().unwrap().contains(&other.run));
        let keeper = Keeper::new(me, schedules.into_iter().map(Arc::new), self.is_alone, is_alive);
        let daemon = Daemon { name, keeper, clock: TimeDelta::zero(), children: BTreeMap::new(), run };
        self.daemons.insert(self.started, daemon);
        self.started
    }

    pub fn add(&mut self, daemon: usize, schedule: Schedule) {
        let tasks = &mut self.daemons.get_mut(&daemon).unwrap().keeper.tasks;
        tasks.insert(schedule.name.clone(), Task::new(Arc::new(schedule)));
    }

    /// The process is gone, and its children with it.
    pub fn kill(&mut self, daemon: usize) {
        let gone = self.daemons.remove(&daemon).unwrap();
        self.alive.lock().unwrap().remove(&gone.run);
    }

    pub fn stop(&mut self, daemon: usize) {
        self.daemons.get_mut(&daemon).unwrap().keeper.stop();
    }

    pub fn ask(&mut self, daemon: usize, name: &str) {
        self.daemons.get_mut(&daemon).unwrap().keeper.ask(name);
    }

    pub fn is_at_rest(&self, daemon: usize) -> bool {
        self.daemons[&daemon].keeper.is_at_rest()
    }

    /// When a daemon wants to be asked again.
    pub fn wake(&self, daemon: usize) -> Option<DateTime<Utc>> {
        self.daemons[&daemon].keeper.wake(self.now)
    }

    pub fn set_clock(&mut self, daemon: usize, wrong_by: TimeDelta) {
        self.daemons.get_mut(&daemon).unwrap().clock = wrong_by;
    }

    /// Every attempt: when it began, by the right clock, where and of what.
    pub fn runs(&self) -> Vec<String> {
        self.begun.clone()
    }

    /// Lets time pass.
    pub fn until(&mut self, until: &str) {
        let until = at(until);
        loop {
            while self.act() {}
            let next = self.daemons.values().flat_map(|daemon| {
                // Like the real one, it looks at the clock now and then.
                let look = self.now + TimeDelta::minutes(10);
                let wake = daemon.keeper.wake(self.now + daemon.clock).map(|wake| wake - daemon.clock);
                let ends = daemon.children.values().map(|(ends, _)| *ends);
                ends.chain(wake).chain([look]).collect::<Vec<_>>()
            });
            // Whatever is to be done at once and can't be, is looked at again a second later.
            let next = next.min().unwrap_or(until).max(self.now + TimeDelta::seconds(1));
            if next > until {
                self.now = until;
                return;
            }
            self.now = next;
        }
    }

    /// Does what is to be done now; whether there was anything.
    fn act(&mut self) -> bool {
        let mut has_acted = false;
        for number in self.daemons.keys().copied().collect::<Vec<_>>() {
            let mut daemon = self.daemons.remove(&number).unwrap();
            let ended: Vec<_> = daemon.children.iter().filter(|(_, (ends, _))| *ends <= self.now).collect();
            let ended: Vec<_> = ended.into_iter().map(|(name, (_, finish))| (name.clone(), *finish)).collect();
            for (name, finish) in ended {
                daemon.children.remove(&name);
                daemon.keeper.ended(&name, finish, self.now + daemon.clock).unwrap();
                has_acted = true;
            }
            for step in daemon.keeper.steps(self.now + daemon.clock) {
                self.perform(&mut daemon, step);
                has_acted = true;
            }
            self.daemons.insert(number, daemon);
        }
        has_acted
    }

    fn perform(&mut self, daemon: &mut Daemon, step: Step) {
        let now = self.now + daemon.clock;
        match step {
            Step::Look if self.is_leased => {
                daemon.keeper.looked(&self.claims, now);
                daemon.keeper.leased();
            }
            Step::Look if self.is_away => {
                daemon.keeper.look_later(now);
                self.told += daemon.keeper.unread_for_long(now).len();
            }
            Step::Look => daemon.keeper.looked(&self.claims, now),
            Step::Write(name) if self.is_away => {
                self.told += usize::from(daemon.keeper.kept_by_store(&name, now).is_some());
                daemon.keeper.postpone(&name, now);
            }
            Step::Write(name) if self.is_leased => {
                daemon.keeper.looked(&self.claims, now);
                daemon.keeper.leased();
                daemon.keeper.postpone(&name, now);
            }
            Step::Write(name) => {
                if let Some(Proposal { claim, news }) = daemon.keeper.proposal(&name, self.claims.get(&name), now) {
                    self.written += 1;
                    self.announce(&name, news);
                    self.claims.insert(name, claim);
                }
                daemon.keeper.looked(&self.claims, now);
            }
            Step::Begin(name, run) => {
                daemon.keeper.begun(&name);
                self.works.push(run.work);
                self.begun.push(format!("{} {} {name}", shown(self.now), daemon.name));
                self.overlaps += self.daemons.values().filter(|other| other.children.contains_key(&name)).count();
                let finish = self.answers.pop().unwrap_or(Finish { outcome: RunOutcome::Done, left: Work::Publish });
                let before = daemon.children.insert(name, (self.now + self.takes, finish));
                self.overlaps += usize::from(before.is_some());
            }
            Step::GiveUp(name) => {
                daemon.keeper.give_up(&name).unwrap();
            }
        }
    }

    fn announce(&mut self, name: &str, news: Option<News>) {
        let Some(News { what, is_first }) = news else { return };
        self.told += usize::from(is_first);
        self.missed.push(match what {
            Absence::Lost(due, _) => format!("{name} {} lost", shown(due)),
            Absence::Missed(Missed { first, times: 1, .. }) => format!("{name} {}", shown(first)),
            Absence::Missed(Missed { first, last, times }) => {
                format!("{name} {} to {} ({times})", shown(first), shown(last))
            }
        });
    }
}
