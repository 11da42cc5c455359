//! Leader election: the algorithm as a pure state machine, and its two locks.
