//! Frames, requests and the shard loop: what both ends and the fault proxy share.
