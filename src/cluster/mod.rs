//! Several nodes: who is alive, where a meeting lives. One node, today.
