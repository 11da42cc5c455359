//! The running agent: start order, named threads, shutdown order.
