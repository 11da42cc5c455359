//! What a consumer of a watched resource is told.

/// One step of a resource's contents, as its watch thread hands it to its consumer.
///
/// `Init`, then `InitApply` for each listed object, then `InitDone` are an atomic replace: what the consumer held
/// before stays in use until `InitDone`, and whatever was not among the listed objects is gone then. A second `Init`
/// without an `InitDone` between throws the unfinished batch away. `Apply` and `Delete` come only after an `InitDone`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<T> {
    /// A list begins: collect the following objects apart from the present ones.
    Init,
    /// An object of the list that began last.
    InitApply(T),
    /// The list is complete: the collected objects replace the present ones.
    InitDone,
    /// An object is new or has changed.
    Apply(T),
    /// An object is gone; this is its last state.
    Delete(T),
}

impl<T> Event<T> {
    /// The same step with its object turned into something else.
    pub fn map<U>(self, turn: impl FnOnce(T) -> U) -> Event<U> {
        match self {
            Event::Init => Event::Init,
            Event::InitApply(object) => Event::InitApply(turn(object)),
            Event::InitDone => Event::InitDone,
            Event::Apply(object) => Event::Apply(turn(object)),
            Event::Delete(object) => Event::Delete(turn(object)),
        }
    }
}
