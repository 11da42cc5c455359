//! Which services select which pods on which node, and what nodes and namespaces carry.
