//! Explores a model breadth first, and completely.
//!
//! States are told apart by 128 bits of a hash. The graph of all states is checked for cycles as
//! well: without one, each run of the model ends, so what holds in all last states is always
//! reached.

use std::collections::hash_map::{DefaultHasher, Entry};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::{Debug, Display};
use std::hash::{Hash, Hasher};

/// What is explored.
pub(super) trait Model {
    type State: Hash;
    type Action: Copy + Debug;
    type Problem: Clone + Debug + Display;

    fn initial(&self) -> Self::State;

    /// All actions that are possible in a state.
    fn actions(&self, state: &Self::State) -> Vec<Self::Action>;

    fn next(&self, state: &Self::State, action: Self::Action) -> Self::State;

    /// The rule that a state breaks.
    fn problem(&self, state: &Self::State) -> Option<Self::Problem>;

    /// What a state is an example of.
    fn sights(&self, state: &Self::State) -> Vec<&'static str>;
}

/// A model without a problem.
#[derive(Debug, Default)]
pub(super) struct Explored {
    pub(super) states: usize,
    pub(super) steps: usize,
    /// The number of actions to the state that is farthest away.
    pub(super) depth: usize,
    /// The number of states that are an example of each sight.
    pub(super) sights: BTreeMap<&'static str, usize>,
}

/// A problem, and the shortest way to it.
pub(super) struct Counterexample<M: Model> {
    pub(super) problem: Option<M::Problem>,
    pub(super) actions: Vec<M::Action>,
}

impl<M: Model> Display for Counterexample<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.problem {
            Some(problem) => write!(f, "{problem}")?,
            None => write!(f, "a run of the model need not end: it comes back to a state")?,
        }
        self.actions.iter().try_for_each(|action| write!(f, "\n  {action:?}"))
    }
}

impl<M: Model> Debug for Counterexample<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Display::fmt(self, f)
    }
}

/// A state that was found: from which other one, and by which action.
type Found<A> = Option<(usize, A)>;

/// Explores all states; fails with the first problem.
pub(super) fn explore<M: Model>(model: &M) -> Result<Explored, Counterexample<M>> {
    let mut explored = Explored::default();
    let mut found: Vec<Found<M::Action>> = vec![None];
    let first = model.initial();
    let mut numbers = HashMap::from([(digest(&first), 0)]);
    let mut successors: Vec<Vec<usize>> = Vec::new();
    let mut waiting = VecDeque::from([(first, 0)]);
    while let Some((state, depth)) = waiting.pop_front() {
        // States are taken in the order of their numbers.
        let number = successors.len();
        if let Some(problem) = model.problem(&state) {
            let actions = actions_to(&found, number);
            return Err(Counterexample { problem: Some(problem), actions });
        }
        for sight in model.sights(&state) {
            *explored.sights.entry(sight).or_default() += 1;
        }
        explored.depth = depth;
        let mut next_ones = Vec::new();
        for action in model.actions(&state) {
            let next = model.next(&state, action);
            let next_number = match numbers.entry(digest(&next)) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(unknown) => {
                    let next_number = *unknown.insert(found.len());
                    found.push(Some((number, action)));
                    waiting.push_back((next, depth + 1));
                    next_number
                }
            };
            next_ones.push(next_number);
        }
        explored.steps += next_ones.len();
        successors.push(next_ones);
    }
    explored.states = successors.len();
    match on_cycle(&successors) {
        Some(number) => Err(Counterexample { problem: None, actions: actions_to(&found, number) }),
        None => Ok(explored),
    }
}

fn actions_to<A: Copy>(found: &[Found<A>], number: usize) -> Vec<A> {
    let steps = std::iter::successors(found[number], |(before, _)| found[*before]);
    let mut actions: Vec<A> = steps.map(|(_, action)| action).collect();
    actions.reverse();
    actions
}

/// Returns a state that lies on a cycle, or behind one: those are left when states without
/// predecessors are removed again and again.
fn on_cycle(successors: &[Vec<usize>]) -> Option<usize> {
    let mut predecessors = vec![0usize; successors.len()];
    successors.iter().flatten().for_each(|next| predecessors[*next] += 1);
    let mut free: Vec<usize> =
        (0..successors.len()).filter(|number| predecessors[*number] == 0).collect();
    while let Some(number) = free.pop() {
        for next in &successors[number] {
            predecessors[*next] -= 1;
            if predecessors[*next] == 0 {
                free.push(*next);
            }
        }
    }
    predecessors.iter().position(|left| *left > 0)
}

/// 128 bits of a hash that is the same in each run.
fn digest(state: &impl Hash) -> (u64, u64) {
    let bytes = bytes(state);
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(salt);
        hasher.write(&bytes);
        hasher.finish()
    };
    (half(0), half(1))
}

/// The bytes that a value passes to a hasher.
pub(super) fn bytes(value: &impl Hash) -> Vec<u8> {
    struct Bytes(Vec<u8>);
    impl Hasher for Bytes {
        fn write(&mut self, bytes: &[u8]) {
            self.0.extend_from_slice(bytes);
        }

        fn finish(&self) -> u64 {
            unreachable!("only the bytes are used")
        }
    }
    let mut bytes = Bytes(Vec::with_capacity(512));
    value.hash(&mut bytes);
    bytes.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number that is doubled or increased. Some runs come back.
    struct Numbers {
        most: u32,
        forbidden: u32,
        /// Where the last number leads.
        back_to: Option<u32>,
    }

    impl Model for Numbers {
        type State = u32;
        type Action = &'static str;
        type Problem = String;

        fn initial(&self) -> u32 {
            1
        }

        fn actions(&self, state: &u32) -> Vec<&'static str> {
            match *state == self.most {
                true => self.back_to.map(|_| "back").into_iter().collect(),
                false => vec!["add", "double"],
            }
        }

        fn next(&self, state: &u32, action: &'static str) -> u32 {
            let next = match action {
                "add" => state + 1,
                "double" => 2 * state,
                _ => self.back_to.unwrap_or(*state),
            };
            next.min(self.most)
        }

        fn problem(&self, state: &u32) -> Option<String> {
            (*state == self.forbidden).then(|| format!("{state} is forbidden"))
        }

        fn sights(&self, state: &u32) -> Vec<&'static str> {
            state.is_multiple_of(2).then_some("an even number").into_iter().collect()
        }
    }

    #[test]
    fn every_state_is_explored_once() {
        let explored = explore(&Numbers { most: 100, forbidden: 0, back_to: None }).unwrap();
        assert_eq!((explored.states, explored.steps), (100, 198));
        assert_eq!(explored.sights, BTreeMap::from([("an even number", 50)]));
    }

    #[test]
    fn a_problem_is_found_on_the_shortest_way() {
        let model = Numbers { most: 100, forbidden: 9, back_to: None };
        let counterexample = explore(&model).unwrap_err();
        assert_eq!(counterexample.actions, ["add", "double", "double", "add"]);
        assert!(counterexample.to_string().starts_with("9 is forbidden\n  \"add\""));
    }

    #[test]
    fn a_run_without_an_end_is_found() {
        let endless = explore(&Numbers { most: 100, forbidden: 0, back_to: Some(50) });
        assert!(endless.is_err_and(|counterexample| counterexample.problem.is_none()));
    }
}
