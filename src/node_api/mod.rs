//! The HTTPS and gRPC service on port 5005 (spec node-api).
