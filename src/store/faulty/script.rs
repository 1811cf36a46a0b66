//! Scripts: which request of a publisher something happens to, and what.

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The process stops before it is sent.
    StopBefore,
    /// It is carried out, and the process stops before it hears of it.
    StopAfter,
    /// It never arrives, and no answer comes.
    Lost,
    /// It is carried out, and no answer comes.
    Unheard,
    /// It is on its way for long, and no answer comes; [`World::deliver`] carries it out.
    Late,
    /// It is on its way for long. It is sent again, carried out and answered; [`World::deliver`] brings the first one.
    Twice,
    /// The store answers 503 until the publisher gives up.
    Unavailable,
    /// The store answers 429 for a minute, and then as always.
    Throttled,
    /// This publisher may not do that with this object, now or later.
    Forbidden,
}

/// Which request of a publisher is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The one of this number, from 0.
    Request(usize),
    /// The one of this number among those that change stable paths, from 0.
    Show(usize),
    /// Every one from this number on that writes something, while reading goes on.
    WritesFrom(usize),
}

/// What happens to the requests of one publisher.
#[derive(Debug, Clone, Default)]
pub struct Script(Vec<(Place, Fault)>);

impl Script {
    /// These faults at these places.
    pub fn new(faults: impl IntoIterator<Item = (Place, Fault)>) -> Script {
        Script(faults.into_iter().collect())
    }

    /// What happens to a request; `show` is its number among the changes of stable paths, if it is one.
    pub fn fault(&self, number: usize, show: Option<usize>, writes: bool) -> Option<Fault> {
        let is_meant = |place: &Place| match place {
            Place::Request(meant) => *meant == number,
            Place::Show(meant) => Some(*meant) == show,
            Place::WritesFrom(first) => *first <= number && writes,
        };
        self.0.iter().find(|(place, _)| is_meant(place)).map(|(_, fault)| *fault)
    }
}
